//! Progress of an extraction on stderr.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::{Duration, Instant};

use common::counted;
use indicatif::{ProgressBar, ProgressStyle};

use super::{eprint_line, tell};
use crate::pipeline::Progress;

/// Time between two lines of progress without a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Progress on stderr: a bar on a terminal, else a line every few seconds.
pub(super) struct Bar {
    bar: ProgressBar,
    started: Instant,
    printed: Instant,
    total: u64,
    first: Option<u64>,
}

impl Bar {
    pub(super) fn new(total: u64) -> Bar {
        Bar {
            bar: ProgressBar::hidden(),
            started: Instant::now(),
            printed: Instant::now(),
            total,
            first: None,
        }
    }

    /// Shows the bar of a run that writes to the folder `dir`.
    pub(super) fn start(&mut self, dir: &Path) {
        tell(&format!("writing {}", dir.display()));
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} samples {msg}");
        self.bar = ProgressBar::new(self.total);
        self.bar
            .set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        (self.started, self.printed) = (Instant::now(), Instant::now());
    }

    pub(super) fn report(&mut self, progress: Progress) {
        for reason in &progress.skipped {
            self.bar
                .suspend(|| eprint_line(&format!("warning: skipped {reason}")));
        }
        let text = self.describe(&progress);
        self.bar.set_position(progress.samples);
        self.bar.set_message(text.clone());
        if !io::stderr().is_terminal() && self.printed.elapsed() >= LINE_EVERY {
            self.printed = Instant::now();
            let (done, total) = (progress.samples, self.total);
            eprint_line(&format!("{done}/{total} samples {text}"));
        }
    }

    /// Slices, slices per second, and the time left if the remaining samples have as many slices.
    fn describe(&mut self, progress: &Progress) -> String {
        let first = *self.first.get_or_insert(progress.samples);
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = progress.slices as f64 / seconds.max(1e-9);
        let done = progress.samples - first;
        let left = match done {
            0 => "?".to_string(),
            _ => {
                let to_do = (self.total - progress.samples) as f64;
                readable(Duration::from_secs_f64(seconds / done as f64 * to_do))
            }
        };
        format!(
            "| {}, {rate:.1}/s, {left} left",
            counted(progress.slices, "slice")
        )
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn readable(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}
