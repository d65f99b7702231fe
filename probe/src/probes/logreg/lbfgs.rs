//! L-BFGS with reverse communication: the caller evaluates the trial point, so that many minimisations share
//! one pass over the data.
//!
//! The function is convex. A step is accepted if the absolute slope along the direction is less than half of
//! the initial one and the loss has not risen; the secant method on slopes finds it. This needs no differences
//! of losses, which rounding in f32 makes useless near the minimum.

use std::collections::VecDeque;

use ndarray::Array1;

/// Number of stored steps.
const PAIRS: usize = 12;
/// Maximum slope of an accepted step, relative to the initial one.
const FLATTER: f64 = 0.5;
/// Relative rise of the loss that counts as rounding.
const NOISE: f64 = 1e-6;
/// Maximum number of steps tried along a direction.
const TRIALS: usize = 10;
/// Squared norm of the gradient at which the minimum counts as reached, relative to the loss and to the
/// smallest observed curvature: half of it bounds the distance of the loss from its minimum if the function
/// is nowhere flatter.
const SAFE: f64 = 2e-7;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Running,
    Converged,
    /// Ended without reaching the minimum.
    Stuck,
}

/// A minimisation that starts at 0.
#[derive(Debug)]
pub(super) struct Lbfgs {
    here: Place,
    pairs: VecDeque<Pair>,
    direction: Array1<f64>,
    /// Along the direction at its beginning.
    slope: f64,
    line: Line,
    trial: Array1<f64>,
    state: State,
    /// Smallest observed curvature along a step; the preconditioned one is about 1.
    flattest: f64,
    tolerance: f64,
    evaluations: usize,
}

#[derive(Debug)]
struct Place {
    x: Array1<f64>,
    loss: f64,
    gradient: Array1<f64>,
}

#[derive(Debug)]
struct Pair {
    step: Array1<f64>,
    change: Array1<f64>,
    product: f64,
}

/// Steps and slopes along a direction.
#[derive(Debug)]
struct Line {
    step: f64,
    trials: usize,
    low: (f64, f64),
    high: Option<(f64, f64)>,
}

impl Lbfgs {
    /// Starts with the loss and gradient at 0. The minimisation ends when the expected decrease is less than
    /// `tolerance` times the loss.
    pub(super) fn new(loss: f64, gradient: Array1<f64>, tolerance: f64) -> Lbfgs {
        let zeros = Array1::zeros(gradient.len());
        let mut new = Lbfgs {
            trial: zeros.clone(),
            direction: zeros.clone(),
            here: Place {
                x: zeros,
                loss,
                gradient,
            },
            pairs: VecDeque::with_capacity(PAIRS),
            slope: 0.0,
            line: Line::new(0.0),
            state: State::Running,
            flattest: 1.0,
            tolerance,
            evaluations: 0,
        };
        new.aim();
        new
    }

    /// Point to be evaluated next.
    pub(super) fn trial(&self) -> &Array1<f64> {
        &self.trial
    }

    /// Best point so far, and its loss.
    pub(super) fn best(&self) -> (&Array1<f64>, f64) {
        (&self.here.x, self.here.loss)
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn evaluations(&self) -> usize {
        self.evaluations
    }

    /// Takes the loss and gradient at [`Lbfgs::trial`].
    pub(super) fn tell(&mut self, loss: f64, gradient: Array1<f64>) {
        self.evaluations += 1;
        let slope = gradient.dot(&self.direction);
        let most = self.here.loss * (1.0 + NOISE);
        if !(loss <= most && slope <= -FLATTER * self.slope) {
            self.line.high = Some((self.line.step, slope));
        } else if slope < FLATTER * self.slope {
            self.line.low = (self.line.step, slope);
        } else {
            self.accept(loss, gradient);
            return;
        }
        if !self.line.advance(self.slope) {
            self.end();
        }
        self.place();
    }

    fn accept(&mut self, loss: f64, gradient: Array1<f64>) {
        let step = &self.trial - &self.here.x;
        let change = &gradient - &self.here.gradient;
        let product = step.dot(&change);
        if product > 0.0 {
            self.flattest = self.flattest.min(product / step.dot(&step));
            if self.pairs.len() == PAIRS {
                self.pairs.pop_front();
            }
            self.pairs.push_back(Pair {
                step,
                change,
                product,
            });
        }
        self.here = Place {
            x: self.trial.clone(),
            loss,
            gradient,
        };
        self.aim();
    }

    /// Chooses the next direction, and its first step, or ends.
    fn aim(&mut self) {
        self.direction = -self.newton_step();
        self.slope = self.direction.dot(&self.here.gradient);
        self.line = Line::new(self.slope);
        if -self.slope <= self.tolerance * self.here.loss {
            self.end();
        }
        self.place();
    }

    fn end(&mut self) {
        let square = self.here.gradient.dot(&self.here.gradient);
        self.state = if square <= SAFE * self.flattest * self.here.loss {
            State::Converged
        } else {
            State::Stuck
        };
    }

    /// Product of the gradient and the inverse Hessian approximated by the stored pairs.
    fn newton_step(&self) -> Array1<f64> {
        let mut step = self.here.gradient.clone();
        let mut shares = Vec::with_capacity(PAIRS);
        for pair in self.pairs.iter().rev() {
            let share = pair.step.dot(&step) / pair.product;
            step.scaled_add(-share, &pair.change);
            shares.push(share);
        }
        if let Some(pair) = self.pairs.back() {
            step *= pair.product / pair.change.dot(&pair.change);
        }
        for (pair, share) in self.pairs.iter().zip(shares.iter().rev()) {
            let back = pair.change.dot(&step) / pair.product;
            step.scaled_add(share - back, &pair.step);
        }
        step
    }

    fn place(&mut self) {
        self.trial.assign(&self.here.x);
        self.trial.scaled_add(self.line.step, &self.direction);
    }
}

impl Line {
    fn new(slope: f64) -> Line {
        Line {
            step: 1.0,
            trials: 0,
            low: (0.0, slope),
            high: None,
        }
    }

    /// Tries the next step, or ends after [`TRIALS`] steps.
    fn advance(&mut self, first_slope: f64) -> bool {
        self.trials += 1;
        let (low, slope) = self.low;
        self.step = match self.high {
            None => (low * first_slope / (first_slope - slope)).clamp(1.5 * low, 5.0 * low),
            Some((high, high_slope)) => {
                let width = high - low;
                let share = if high_slope > 0.0 {
                    (slope / (slope - high_slope)).clamp(0.1, 0.9)
                } else {
                    0.5
                };
                low + width * share
            }
        };
        self.trials < TRIALS
    }
}
