//! Ctrl-C (SIGINT) and SIGTERM.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use cache::CacheLock;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

use super::tell;

/// Time between two looks at what has arrived.
const LOOK: Duration = Duration::from_millis(20);

/// What a signal asks for. The first one sets [`Signals::stop`], the next one ends the program at once. Until there is
/// something to save, the first one ends the program too, after a message.
pub(super) struct Signals {
    pub(super) stop: Arc<AtomicBool>,
    state: Arc<State>,
}

struct State {
    /// The last signal; 0 if none arrived.
    signal: Arc<AtomicUsize>,
    /// Caches that are locked, or are about to be; `None` once slices are computed.
    before: Mutex<Option<Vec<PathBuf>>>,
    /// Folder of the local folders of caches in buckets.
    staging: PathBuf,
}

impl Signals {
    /// Replaces the system's reaction to both signals. `staging` is the folder of the local folders of caches in buckets.
    pub(super) fn register(staging: &Path) -> io::Result<Signals> {
        let signals = Signals {
            stop: Arc::default(),
            state: Arc::new(State {
                signal: Arc::default(),
                before: Mutex::new(Some(Vec::new())),
                staging: staging.into(),
            }),
        };
        let is_second = Arc::<AtomicBool>::default();
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&is_second))?;
            flag::register(signal, Arc::clone(&is_second))?;
            let number = signal.unsigned_abs() as usize;
            flag::register_usize(signal, Arc::clone(&signals.state.signal), number)?;
            flag::register(signal, Arc::clone(&signals.stop))?;
        }
        let (stop, state) = (Arc::clone(&signals.stop), Arc::clone(&signals.state));
        thread::Builder::new().spawn(move || state.end_early(&stop))?;
        Ok(signals)
    }

    /// Returns unless the program ends early: then it waits for the end, so that nothing more is told.
    pub(super) fn go_on(&self) {
        drop(self.state.before());
    }

    /// Notes that a cache is about to be locked, which a signal before the first slice unlocks.
    pub(super) fn locking(&self, dir: PathBuf) {
        self.state
            .before()
            .iter_mut()
            .for_each(|held| held.push(dir.clone()));
    }

    /// From now on, the first signal asks to save and stop.
    pub(super) fn save_first(&self) {
        *self.state.before() = None;
    }

    /// The exit code of a program that the last signal stopped.
    pub(super) fn exit_code(&self) -> u8 {
        u8::try_from(self.state.exit_code()).unwrap_or(u8::MAX)
    }
}

impl State {
    /// Ends the program at the first signal, unless slices are computed before.
    fn end_early(&self, stop: &AtomicBool) {
        loop {
            thread::sleep(LOOK);
            let held = self.before();
            let Some(dirs) = held.as_ref() else { return };
            if stop.load(Ordering::SeqCst) {
                tell("stopped before the first slice of this run; the same command continues");
                CacheLock::release(dirs, &self.staging);
                // Destructors of the runtime must not run beside its threads.
                low_level::exit(self.exit_code());
            }
        }
    }

    fn exit_code(&self) -> i32 {
        128 + self.signal.load(Ordering::SeqCst) as i32
    }

    fn before(&self) -> MutexGuard<'_, Option<Vec<PathBuf>>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
