//! L-BFGS that is told what is where it asks, so that many can share one pass over the data.
//!
//! The function is convex: where its slope along the direction is less than half of that at the
//! beginning, in size, and the loss is no more, a step is good, and secants of slopes find it. This
//! needs no differences of losses, which rounding in f32 spoils near the minimum.

use std::collections::VecDeque;

use ndarray::Array1;

/// Steps that are remembered.
const PAIRS: usize = 12;
/// A step is good where the slope is this part of the first one, or less.
const FLATTER: f64 = 0.5;
/// How much the loss may rise by rounding, relative to it.
const NOISE: f64 = 1e-6;
/// Steps that are tried along a direction.
const TRIALS: usize = 10;
/// The square of the gradient's length at which the minimum is taken as reached, relative to the loss
/// and to the smallest curvature that was seen: half of it bounds how far the loss is above its
/// minimum where the function is nowhere flatter.
const SAFE: f64 = 2e-7;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Running,
    Converged,
    /// Ended where the minimum may be far away.
    Stuck,
}

/// A minimisation, from 0 on.
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
    /// The smallest curvature along a step so far; 1 is that of the coordinates.
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

/// What is known along a direction: steps and slopes there.
#[derive(Debug)]
struct Line {
    step: f64,
    trials: usize,
    low: (f64, f64),
    high: Option<(f64, f64)>,
}

impl Lbfgs {
    /// Of a function with this loss and gradient at 0, until the decrease to be expected is the
    /// part `tolerance` of the loss.
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

    /// Where loss and gradient are wanted.
    pub(super) fn trial(&self) -> &Array1<f64> {
        &self.trial
    }

    /// The best place so far, and its loss.
    pub(super) fn best(&self) -> (&Array1<f64>, f64) {
        (&self.here.x, self.here.loss)
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn evaluations(&self) -> usize {
        self.evaluations
    }

    /// Takes loss and gradient at [`Lbfgs::trial`].
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

    /// The gradient times the inverse of the curvature that the pairs tell of.
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

    /// Goes to the next step, unless enough were tried.
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
