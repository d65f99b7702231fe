//! `probe few-shot`.

use std::io::Write;

use anyhow::{Result, bail};
use cache::Split;
use clap::{Args, ValueEnum};

use super::effect::{Idle, NEVER};
use super::given::Given;
use super::knn::KnnArgs;
use super::linear::LinearArgs;
use super::logreg::LogregArgs;
use super::over::{Job, Progress};
use super::settings::{SelectArg, SettingsArgs};
use super::{Caches, Outcome, Output};
use crate::evaluate::{self, Draw, Probe};
use crate::protocol::Protocol;

/// Random draws where no number is asked for.
pub(super) const REPEATS: u32 = 5;

#[derive(Debug, Args)]
pub(super) struct FewShot {
    #[command(flatten)]
    caches: Caches,
    /// What is fitted
    #[arg(long, default_value = "linear")]
    head: HeadKind,
    /// Numbers of patients (or samples) of each class; `all` for all
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16,all", value_parser = shots)]
    shots: Vec<Shots>,
    /// Random draws of each number, of which the mean and the spread are reported [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    repeats: Option<u32>,
    /// What a random draw takes of each class: patients with all of their images, or examples, as in
    /// DINOv2's evaluation. The study's draw is made by its own rules [default: patients]
    #[arg(long)]
    draw: Option<DrawArg>,
    #[command(flatten)]
    knn: Given<KnnArgs>,
    #[command(flatten)]
    linear: Given<LinearArgs>,
    #[command(flatten)]
    logreg: Given<LogregArgs>,
    /// `linear` and `logreg`: what the best head is best in, on the part that is chosen on
    /// [default: auroc]
    #[arg(long)]
    select: Option<SelectArg>,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum HeadKind {
    Knn,
    Linear,
    Logreg,
    /// The nearest mean of a class's features
    Centroid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DrawArg {
    Patients,
    Examples,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shots(pub(super) Option<usize>);

impl FewShot {
    pub(super) fn run(&self, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
        let probe = self.probe()?;
        let few = evaluate::FewShot {
            shots: self.shots.iter().map(|shots| shots.0).collect(),
            repeats: self.repeats.unwrap_or(REPEATS) as usize,
            draw: match self.draw {
                Some(DrawArg::Patients) | None => Draw::Patients,
                Some(DrawArg::Examples) => Draw::Examples,
            },
        };
        let settings = self
            .settings
            .settings(Split::Test, &[], self.idle(), messages)?;
        let job = Job {
            caches: &self.caches,
            output: &self.output,
            probe: "few-shot",
            settings,
            key: &|reader, settings| Ok(settings.of_few_shot(reader, &probe, &few)?.key),
            evaluate: |reader: &_, settings: &_, _: &Progress<'_>| {
                evaluate::few_shot(reader, &probe, settings, &few)
            },
        };
        job.run(out, messages)
    }

    /// Options that are given in vain.
    fn idle(&self) -> Vec<Idle> {
        let rules = self.settings.rules();
        let mut idle = drawn(&self.shots, self.repeats, self.draw.is_some());
        idle.extend(self.knn.without_tokens(&self.settings));
        let why = "intervals are given with `--protocol paper`, whose draw is one";
        let confidence = rules.confidence();
        idle.extend(confidence.without_intervals(why, Protocol::one_draw));
        if self.head == HeadKind::Centroid {
            idle.push(rules.without_choice("of `--head centroid` nothing is chosen"));
        }
        idle
    }

    /// Refuses options of other heads.
    fn probe(&self) -> Result<Probe> {
        let (features, layer) = self.knn.tokens();
        let [knn, linear, logreg] = [
            self.knn.other_than(&[]),
            self.linear.other_than(&[]),
            self.logreg.other_than(&[]),
        ];
        let beside_tokens = self.knn.other_than(&["features", "layer"]);
        let selects = self.select.map(|_| "select");
        let select = self.select.unwrap_or(SelectArg::Auroc);
        let (probe, other) = match self.head {
            HeadKind::Knn => (
                Probe::Knn(self.knn.options()?),
                linear.or(logreg).or(selects),
            ),
            HeadKind::Linear => (Probe::Linear(self.linear.options(select)), knn.or(logreg)),
            HeadKind::Logreg => (
                Probe::Logreg(self.logreg.options(features, layer, select)),
                beside_tokens.or(linear),
            ),
            HeadKind::Centroid => (
                Probe::Centroid(self.knn.centroid()),
                beside_tokens.or(linear).or(logreg).or(selects),
            ),
        };
        match other {
            Some(option) => bail!(
                "`--{option}`: `--head {}` has no such option\nhint: leave it out, or give another --head",
                probe.name()
            ),
            None => Ok(probe),
        }
    }
}

/// Options of random draws where there are none.
pub(super) fn drawn(shots: &[Shots], repeats: Option<u32>, names_draw: bool) -> Vec<Idle> {
    let is_random: fn(Protocol) -> bool = |protocol| !protocol.one_draw();
    let (why, has_effect) = if shots.iter().all(|shots| shots.0.is_none()) {
        ("`--shots all` draws nothing", NEVER)
    } else {
        ("the study's draw is one, by its own rules", is_random)
    };
    vec![
        Idle::new("--repeats", repeats.is_some(), why, has_effect),
        Idle::new("--draw", names_draw, why, has_effect),
    ]
}

pub(super) fn shots(word: &str) -> Result<Shots, String> {
    if word == "all" {
        return Ok(Shots(None));
    }
    let number = word
        .parse()
        .ok()
        .filter(|number| (1..=1_000_000).contains(number));
    let number: Result<usize, String> =
        number.ok_or_else(|| "expected a whole number from 1 to 1000000, or `all`".into());
    number.map(|number| Shots(Some(number)))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parse(words: &str) -> Result<Probe> {
        let words = ["probe", "few-shot"]
            .into_iter()
            .chain(words.split_whitespace());
        match Cli::try_parse_from(words)?.command {
            Command::FewShot(few_shot) => few_shot.probe(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_of_other_heads_are_refused() {
        for (words, option) in [
            ("--head centroid --C 5", "--C"),
            ("--head centroid --k 5", "--k"),
            ("--head centroid --lr 0.1", "--lr"),
            ("--head logreg --vote majority", "--vote"),
            ("--head logreg --epochs 3", "--epochs"),
            ("--head knn --C 5 --k 3", "--C"),
            ("--head knn --batch-size 128", "--batch-size"),
            ("--head knn --select accuracy", "--select"),
            ("--head centroid --select auroc", "--select"),
            ("--layer 2", "--layer"),
            ("--solver lbfgs", "--solver"),
        ] {
            let text = parse(words).unwrap_err().to_string();
            assert!(text.starts_with(&format!("`{option}`")), "{words}: {text}");
            assert!(text.contains("hint:"), "{text}");
        }
    }

    #[test]
    fn options_of_a_head_are_taken() {
        for words in [
            "",
            "--lr 0.1 --epochs 3 --blocks 1",
            "--head centroid --features mean-patch --layer 2",
            "--head logreg --C 5 --solver lbfgs --features cls --layer 2",
            "--head knn --k 5 --vote majority --features cls --index hnsw --ef 20",
        ] {
            assert!(parse(words).is_ok(), "{words}: {:?}", parse(words));
        }
        let Probe::Linear(options) = parse("--epochs 3").unwrap() else {
            panic!("another probe");
        };
        assert_eq!(options.epochs, 3);
    }
}
