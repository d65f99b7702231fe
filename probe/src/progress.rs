//! The steps of an evaluation, for people who wait for it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

/// Shortest time between two messages of a count, in milliseconds.
const BETWEEN: u64 = 100;

/// Takes the share of a step that is done, if it is known, and words for it.
type Show<'a> = dyn Fn(Option<f64>, &str) + Sync + 'a;

/// Tells what is being done.
#[derive(Clone)]
pub struct Steps<'a> {
    show: &'a Show<'a>,
    /// The part of the evaluation, before each message: `shots=4, draw 2 of 5: `.
    part: String,
}

impl<'a> Steps<'a> {
    /// Steps that `show` takes.
    pub fn new(show: &'a Show<'a>) -> Steps<'a> {
        Steps {
            show,
            part: String::new(),
        }
    }

    /// Steps that nobody is told of.
    pub fn silent() -> Steps<'static> {
        Steps::new(&|_, _| ())
    }

    /// The steps of a part.
    #[must_use]
    pub fn of(&self, part: &str) -> Steps<'a> {
        Steps {
            show: self.show,
            part: format!("{}{part}: ", self.part),
        }
    }

    /// Tells of a step that is not counted.
    pub fn say(&self, what: &str) {
        (self.show)(None, &format!("{}{what}", self.part));
    }

    /// Tells of a step of which a share is done.
    pub fn share(&self, share: f64, what: &str) {
        (self.show)(Some(share), &format!("{}{what}", self.part));
    }

    /// Begins a step of `of` units, whose name is in the plural.
    pub fn count<'s>(&'s self, what: &'s str, of: usize, units: &'s str) -> Count<'s> {
        let count = Count {
            steps: self,
            what,
            units,
            of,
            done: AtomicUsize::new(0),
            start: Instant::now(),
            told: AtomicU64::new(0),
        };
        count.tell(0);
        count
    }
}

/// A step whose units are counted, by any number of threads.
pub struct Count<'s> {
    steps: &'s Steps<'s>,
    what: &'s str,
    units: &'s str,
    of: usize,
    done: AtomicUsize,
    start: Instant,
    /// Milliseconds from the start to the last message.
    told: AtomicU64,
}

impl Count<'_> {
    /// Adds units that are done.
    pub fn add(&self, units: usize) {
        let done = self.done.fetch_add(units, Ordering::Relaxed) + units;
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let told = self.told.load(Ordering::Relaxed);
        let is_due = now >= told.saturating_add(BETWEEN) || done == self.of;
        let swapped = |to| {
            let swap = self
                .told
                .compare_exchange(told, to, Ordering::Relaxed, Ordering::Relaxed);
            swap.is_ok()
        };
        if is_due && swapped(now) {
            self.tell(done);
        }
    }

    fn tell(&self, done: usize) {
        let (of, done) = (self.of.max(1), done.min(self.of));
        let seconds = self.start.elapsed().as_secs_f64();
        let left = if done > 0 && done < self.of && seconds > 1.0 {
            let left = seconds / done as f64 * (self.of - done) as f64;
            format!(", {} left", time(left))
        } else {
            String::new()
        };
        self.steps.share(
            done as f64 / of as f64,
            &format!("{}: {done} of {} {}{left}", self.what, self.of, self.units),
        );
    }
}

/// A time for people: `12 s`, `3 min 5 s`, `1 h 2 min`.
pub(crate) fn time(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn units_are_counted_and_the_part_is_named() {
        let said = Mutex::new(Vec::new());
        let show = |share: Option<f64>, text: &str| {
            said.lock().unwrap().push((share, text.to_owned()));
        };
        let steps = Steps::new(&show);
        steps.say("reading");
        let part = steps.of("shots=4");
        let count = part.count("measuring", 4, "slices");
        count.add(4);
        let said = said.into_inner().unwrap();
        assert_eq!(said[0], (None, "reading".to_owned()));
        assert_eq!(
            said[1..],
            [
                (Some(0.0), "shots=4: measuring: 0 of 4 slices".to_owned()),
                (Some(1.0), "shots=4: measuring: 4 of 4 slices".to_owned())
            ]
        );
    }
}
