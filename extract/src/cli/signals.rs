//! Ctrl-C (SIGINT) and SIGTERM.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// What a signal asks for. The first one sets [`Signals::stop`], the next one ends the program at once; until
/// there is something to save, the first one does.
pub(super) struct Signals {
    pub(super) stop: Arc<AtomicBool>,
    at_once: Arc<AtomicBool>,
    /// The last signal; 0 if none arrived.
    signal: Arc<AtomicUsize>,
}

impl Signals {
    /// Replaces the system's reaction to both signals.
    pub(super) fn register() -> io::Result<Signals> {
        let signals = Signals {
            stop: Arc::default(),
            at_once: Arc::new(AtomicBool::new(true)),
            signal: Arc::default(),
        };
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_shutdown(
                signal,
                128 + signal,
                Arc::clone(&signals.at_once),
            )?;
            flag::register(signal, Arc::clone(&signals.at_once))?;
            let number = signal.unsigned_abs() as usize;
            flag::register_usize(signal, Arc::clone(&signals.signal), number)?;
            flag::register(signal, Arc::clone(&signals.stop))?;
        }
        Ok(signals)
    }

    /// From now on, the first signal asks to save and stop.
    pub(super) fn save_first(&self) {
        self.at_once.store(false, Ordering::SeqCst);
    }

    /// The exit code of a program that the last signal stopped.
    pub(super) fn exit_code(&self) -> u8 {
        let signal = self.signal.load(Ordering::SeqCst);
        u8::try_from(128 + signal).unwrap_or(u8::MAX)
    }
}
