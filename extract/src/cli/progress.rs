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
    total: Total,
    /// Samples or slices that were done when this run began.
    first: Option<u64>,
}

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Total {
    /// Samples, of which there are this many.
    Samples(u64),
    /// Slices, of which there are about as many.
    Slices(u64),
}

impl Total {
    fn word(self) -> &'static str {
        match self {
            Total::Samples(_) => "samples",
            Total::Slices(_) => "slices",
        }
    }

    /// How many are done of how many.
    fn of(self, progress: &Progress) -> (u64, u64) {
        match self {
            Total::Samples(all) => (progress.samples, all),
            Total::Slices(all) => {
                let done = progress.earlier + progress.slices;
                (done, all.max(done))
            }
        }
    }
}

impl Bar {
    pub(super) fn new(total: Total) -> Bar {
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
        let template = format!("{{bar:30}} {{pos}}/{{len}} {} {{msg}}", self.total.word());
        let style = ProgressStyle::with_template(&template);
        let (_, all) = self.total.of(&Progress::default());
        self.bar = ProgressBar::new(all);
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
        let (done, all) = self.total.of(&progress);
        self.bar.set_length(all);
        self.bar.set_position(done);
        self.bar.set_message(text.clone());
        if !io::stderr().is_terminal() && self.printed.elapsed() >= LINE_EVERY {
            self.printed = Instant::now();
            eprint_line(&format!("{done}/{all} {} {text}", self.total.word()));
        }
    }

    /// Slices per second, and the time left if what remains takes as long; of samples, also their slices.
    fn describe(&mut self, progress: &Progress) -> String {
        let (done, all) = self.total.of(progress);
        let first = *self.first.get_or_insert(done);
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = progress.slices as f64 / seconds.max(1e-9);
        let left = match done - first {
            0 => "?".to_string(),
            done_now => {
                let to_do = (all - done) as f64;
                readable(Duration::from_secs_f64(seconds / done_now as f64 * to_do))
            }
        };
        let slices = match self.total {
            Total::Samples(_) => counted(progress.slices, "slice") + ", ",
            Total::Slices(_) => String::new(),
        };
        format!("| {slices}{rate:.1}/s, {left} left")
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
