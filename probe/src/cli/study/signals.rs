//! Ctrl-C (SIGINT) and SIGTERM while cells are run.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use common::counted;
use indicatif::ProgressBar;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

/// Time between two looks at what has arrived.
const LOOK: Duration = Duration::from_millis(20);

/// From now on, a signal ends the program after a message with the number of cells that are done, the position of `bar`.
/// Records are appended whole, so that nothing is to be saved.
pub(super) fn tell_of_stop(bar: &ProgressBar) -> io::Result<()> {
    let arrived = Arc::<AtomicUsize>::default();
    for signal in [SIGINT, SIGTERM] {
        let number = signal.unsigned_abs() as usize;
        flag::register_usize(signal, Arc::clone(&arrived), number)?;
    }
    let bar = bar.clone();
    thread::Builder::new().spawn(move || {
        loop {
            thread::sleep(LOOK);
            let signal = arrived.load(Ordering::SeqCst);
            if signal != 0 {
                let (done, all) = (bar.position(), bar.length().unwrap_or_default());
                bar.finish_and_clear();
                let all = counted(all as usize, "cell");
                // If standard error is closed, the exit code remains.
                let _ = writeln!(
                    terminal::messages(),
                    "stopped after {done} of {all}; the same command continues"
                );
                low_level::exit(128 + signal as i32);
            }
        }
    })?;
    Ok(())
}
