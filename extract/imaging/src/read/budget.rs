//! Memory budget of the samples that are open at the same time.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::Error;

/// Greatest size of a sample: 8 GiB, or half of the available memory if that is less.
const MOST: u64 = 8 << 30;

/// Size of all open samples above which all but the first wait: 4 GiB, or a quarter of the available
/// memory if that is less.
const SHARED: u64 = 4 << 30;

/// Memory of all open samples.
///
/// The amount that a sample may take depends neither on other samples nor on the number of threads;
/// they decide only how long it waits.
pub(super) struct MemoryBudget {
    most: u64,
    shared: u64,
    state: Mutex<State>,
    /// Notified when memory is returned.
    freed: Condvar,
}

#[derive(Default)]
struct State {
    taken: u64,
    /// First sample that is not finished.
    first: usize,
    /// Later samples that are finished.
    finished: BTreeSet<usize>,
}

impl Default for MemoryBudget {
    fn default() -> MemoryBudget {
        let left = common::available_memory();
        MemoryBudget::new(MOST.min(left / 2), SHARED.min(left / 4))
    }
}

impl MemoryBudget {
    fn new(most: u64, shared: u64) -> MemoryBudget {
        MemoryBudget {
            most,
            shared,
            state: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// Explanation of the limit in messages.
    fn reason(&self) -> &'static str {
        if self.most < MOST {
            ", half of the memory that is left"
        } else {
            ""
        }
    }

    /// Budget of the sample that is opened as number `index`, from 0.
    pub(super) fn budget(&self, index: usize) -> SampleBudget<'_> {
        SampleBudget {
            memory_budget: self,
            index,
            taken: Cell::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Memory of one sample. Dropping it returns the memory and finishes the sample.
///
/// A sample waits while others hold too much. The first unfinished sample never waits: the slices of
/// later ones are needed only after its own, so no sample waits for ever.
pub struct SampleBudget<'a> {
    memory_budget: &'a MemoryBudget,
    index: usize,
    taken: Cell<u64>,
}

impl SampleBudget<'_> {
    /// Takes memory before it is allocated; waits until it is available.
    ///
    /// # Errors
    ///
    /// [`FileError::TooLarge`](common::FileError::TooLarge) if the sample would take over 8 GiB or half of the memory that is left.
    pub fn take(&self, path: &Path, what: &str, bytes: u64) -> Result<Taken<'_>, Error> {
        let held = self.taken.get();
        if held.saturating_add(bytes) > self.memory_budget.most {
            return Err(Error::too_large(
                path,
                format!("{bytes} bytes for {what}{}", beside(held)),
                format!(
                    "{} bytes a sample{}",
                    self.memory_budget.most,
                    self.memory_budget.reason()
                ),
            ));
        }
        let mut state = self.memory_budget.state();
        while self.index > state.first
            && state.taken.saturating_add(bytes) > self.memory_budget.shared
        {
            let woken = self.memory_budget.freed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
        state.taken += bytes;
        self.taken.set(held + bytes);
        Ok(Taken {
            budget: self,
            bytes,
        })
    }

    fn give_back(&self, bytes: u64) -> MutexGuard<'_, State> {
        self.taken.set(self.taken.get() - bytes);
        let mut state = self.memory_budget.state();
        state.taken -= bytes;
        self.memory_budget.freed.notify_all();
        state
    }
}

impl Drop for SampleBudget<'_> {
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

/// Memory that is returned when this is dropped, unless it is kept.
pub struct Taken<'a> {
    budget: &'a SampleBudget<'a>,
    bytes: u64,
}

impl Taken<'_> {
    /// Keeps the memory until the sample is dropped.
    pub fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        drop(self.budget.give_back(self.bytes));
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

    use common::FileError;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::read::reader::file;

    fn take(budget: &SampleBudget, bytes: u64) {
        budget.take(Path::new("a"), "voxels", bytes).unwrap().keep();
    }

    #[test]
    fn a_sample_that_takes_too_much_is_refused_with_size_limit_and_mend() {
        let memory_budget = MemoryBudget::new(100, 1);
        let budget = memory_budget.budget(0);
        take(&budget, 60);
        let error = budget.take(Path::new("a"), "voxels", 41).err().unwrap();
        let text = error.to_string();
        assert!(text.starts_with(
            "`a`: the header asks for 41 bytes for voxels beside 60 bytes for the rest of the sample, the limit is 100 bytes a sample, half of the memory that is left\nhint: "
        ), "{text}");
        drop(budget.take(Path::new("a"), "voxels", 40).unwrap());
        take(&budget, 40);
        assert_eq!(memory_budget.state().taken, 100);
        drop(budget);
        assert_eq!(memory_budget.state().taken, 0);
        assert!(
            memory_budget
                .budget(1)
                .take(Path::new("a"), "x", u64::MAX)
                .is_err()
        );
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
        let memory_budget = MemoryBudget::new(15 * MIB, 30 * MIB);
        let next = Mutex::new(0..12);
        let read = |k: usize| {
            let budget = memory_budget.budget(k);
            let volume = file(&path(k), None, &budget);
            let taken = memory_budget.state().taken;
            assert!(taken <= (30 + 13) * MIB, "{taken}");
            match (k, volume) {
                (5, Err(Error::File(FileError::TooLarge { .. }))) => {}
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
        let state = memory_budget.state();
        assert_eq!((state.taken, state.first), (0, 12));
    }

    /// As in the pipeline: a sample is open until all before it are finished, and the queue that it
    /// waits at is not emptied before.
    #[test]
    fn samples_that_wait_for_each_other_s_slices_come_through_and_share_what_there_is() {
        const SAMPLES: usize = 40;
        let memory_budget = MemoryBudget::new(50, 60);
        let next = Mutex::new(0..SAMPLES);
        let (gates, opened): (Vec<_>, Vec<_>) = (0..SAMPLES).map(|_| sync_channel(0)).unzip();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some(k) = { next.lock().unwrap().next() } {
                        let budget = memory_budget.budget(k);
                        take(&budget, 25);
                        take(&budget, 25);
                        // The first may take 50 beside what others hold, which is at most 60.
                        assert!(memory_budget.state().taken <= 60 + 50);
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
        let state = memory_budget.state();
        assert_eq!((state.taken, state.first), (0, SAMPLES));
    }
}
