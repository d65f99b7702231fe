//! How much memory the samples may take that are open at the same time.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::memory;
use crate::Error;

/// Most bytes that one sample may take: 8 GiB, or half of the memory that is left if that is less.
const MOST: u64 = 8 << 30;

/// Bytes that samples take together before all but the first of them wait: 4 GiB, or a quarter of
/// the memory that is left.
const SHARED: u64 = 4 << 30;

/// What all open samples have taken. What a sample may take depends on no other, and on no number
/// of threads; only when it gets it does.
pub(super) struct Rooms {
    most: u64,
    shared: u64,
    state: Mutex<State>,
    /// Told whenever something was given back.
    freed: Condvar,
}

#[derive(Default)]
struct State {
    taken: u64,
    /// The first sample that is not finished.
    first: usize,
    /// Later samples that are.
    finished: BTreeSet<usize>,
}

impl Default for Rooms {
    fn default() -> Rooms {
        let left = memory::left();
        Rooms::new(MOST.min(left / 2), SHARED.min(left / 4))
    }
}

impl Rooms {
    fn new(most: u64, shared: u64) -> Rooms {
        Rooms {
            most,
            shared,
            state: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// Why a sample may take no more.
    fn reason(&self) -> &'static str {
        match self.most < MOST {
            true => ", half of the memory that is left",
            false => "",
        }
    }

    /// The room of the sample that is begun as number `index`, from 0.
    pub(super) fn room(&self, index: usize) -> Room<'_> {
        Room {
            rooms: self,
            index,
            taken: Cell::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The memory of one sample; given back, and the sample finished, when it is dropped.
///
/// A sample waits while others hold too much. The first that is not finished never does, since the
/// slices of later ones are wanted only after its own: so none waits for ever.
pub(crate) struct Room<'a> {
    rooms: &'a Rooms,
    index: usize,
    taken: Cell<u64>,
}

impl Room<'_> {
    /// Takes memory before it is allocated, and waits for it if need be.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the sample would take over 8 GiB or half of the memory that is left.
    pub(crate) fn take(&self, path: &Path, what: &str, bytes: u64) -> Result<Taken<'_>, Error> {
        let held = self.taken.get();
        if held.saturating_add(bytes) > self.rooms.most {
            return Err(Error::TooLarge {
                path: path.to_path_buf(),
                found: format!("{bytes} bytes for {what}{}", beside(held)),
                limit: format!("{} bytes a sample{}", self.rooms.most, self.rooms.reason()),
            });
        }
        let mut state = self.rooms.state();
        while self.index > state.first && state.taken.saturating_add(bytes) > self.rooms.shared {
            let woken = self.rooms.freed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
        state.taken += bytes;
        self.taken.set(held + bytes);
        Ok(Taken { room: self, bytes })
    }

    fn give_back(&self, bytes: u64) -> MutexGuard<'_, State> {
        self.taken.set(self.taken.get() - bytes);
        let mut state = self.rooms.state();
        state.taken -= bytes;
        self.rooms.freed.notify_all();
        state
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let mut state = self.give_back(self.taken.get());
        state.finished.insert(self.index);
        while state.finished.contains(&state.first) {
            let finished = state.first;
            state.finished.remove(&finished);
            state.first += 1;
        }
    }
}

/// Memory that is given back when this is dropped, unless it is kept.
pub(crate) struct Taken<'a> {
    room: &'a Room<'a>,
    bytes: u64,
}

impl Taken<'_> {
    /// Leaves the memory to the sample, as long as that is open.
    pub(crate) fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        drop(self.room.give_back(self.bytes));
    }
}

fn beside(held: u64) -> String {
    match held {
        0 => String::new(),
        held => format!(" beside {held} bytes for the rest of the sample"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::sync::mpsc::sync_channel;
    use std::thread;
    use std::time::Duration;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::read::file;

    fn take(room: &Room, bytes: u64) {
        room.take(Path::new("a"), "voxels", bytes).unwrap().keep();
    }

    #[test]
    fn a_sample_that_takes_too_much_is_refused_with_size_limit_and_mend() {
        let rooms = Rooms::new(100, 1);
        let room = rooms.room(0);
        take(&room, 60);
        let error = room.take(Path::new("a"), "voxels", 41).err().unwrap();
        let text = error.to_string();
        assert!(text.starts_with(
            "`a`: the header asks for 41 bytes for voxels beside 60 bytes for the rest of the sample, the limit is 100 bytes a sample, half of the memory that is left\nhint: "
        ), "{text}");
        drop(room.take(Path::new("a"), "voxels", 40).unwrap());
        take(&room, 40);
        assert_eq!(rooms.state().taken, 100);
        drop(room);
        assert_eq!(rooms.state().taken, 0);
        assert!(rooms.room(1).take(Path::new("a"), "x", u64::MAX).is_err());
    }

    /// A gzipped NIfTI of that many slices of 1 MiB of zeros.
    fn bomb(path: &Path, slices: i16) {
        let mut header = vec![0; 352];
        let mut put = |at: usize, value: &[u8]| header[at..at + value.len()].copy_from_slice(value);
        put(0, &348_i32.to_le_bytes());
        for (k, value) in [3, 1024, 1024, slices, 1, 1, 1, 1].into_iter().enumerate() {
            put(40 + 2 * k, &value.to_le_bytes());
        }
        put(70, &2_i16.to_le_bytes());
        put(72, &8_i16.to_le_bytes());
        put(108, &352_f32.to_le_bytes());
        put(344, b"n+1\0");
        let mut encoder = GzEncoder::new(File::create(path).unwrap(), Compression::fast());
        encoder.write_all(&header).unwrap();
        let zeros = vec![0; 1 << 20];
        (0..slices).for_each(|_| encoder.write_all(&zeros).unwrap());
        encoder.finish().unwrap();
    }

    #[test]
    fn bombs_of_zeros_read_by_several_threads_hold_no_more_than_is_shared() {
        const MIB: u64 = 1 << 20;
        let folder = tempfile::tempdir().unwrap();
        let path = |k: usize| folder.path().join(format!("{k}.nii.gz"));
        (0..12).for_each(|k| bomb(&path(k), if k == 5 { 20 } else { 12 }));
        let rooms = Rooms::new(15 * MIB, 30 * MIB);
        let next = Mutex::new(0..12);
        let read = |k: usize| {
            let room = rooms.room(k);
            let volume = file(&path(k), None, &room);
            let taken = rooms.state().taken;
            assert!(taken <= (30 + 13) * MIB, "{taken}");
            match (k, volume) {
                (5, Err(Error::TooLarge { .. })) => {}
                (5, _) => panic!("it was read"),
                (_, volume) => assert_eq!(volume.unwrap().slices(), 12),
            }
        };
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some(k) = { next.lock().unwrap().next() } {
                        read(k);
                    }
                });
            }
        });
        let state = rooms.state();
        assert_eq!((state.taken, state.first), (0, 12));
    }

    /// As in the pipeline: a sample is open until all before it are finished, and the queue that it
    /// waits at is not emptied before.
    #[test]
    fn samples_that_wait_for_each_other_s_slices_come_through_and_share_what_there_is() {
        const SAMPLES: usize = 40;
        let rooms = Rooms::new(50, 60);
        let next = Mutex::new(0..SAMPLES);
        let (gates, opened): (Vec<_>, Vec<_>) = (0..SAMPLES).map(|_| sync_channel(0)).unzip();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some(k) = { next.lock().unwrap().next() } {
                        let room = rooms.room(k);
                        take(&room, 25);
                        take(&room, 25);
                        // The first may take 50 beside what others hold, which is at most 60.
                        assert!(rooms.state().taken <= 60 + 50);
                        gates[k].send(()).unwrap();
                    }
                });
            }
            for opened in opened {
                let timeout = Duration::from_secs(20);
                opened
                    .recv_timeout(timeout)
                    .expect("a sample waits for ever");
            }
        });
        let state = rooms.state();
        assert_eq!((state.taken, state.first), (0, SAMPLES));
    }
}
