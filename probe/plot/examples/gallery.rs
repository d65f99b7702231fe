//! Writes a page with all kinds of charts: `cargo run -p slicebank-plot --example gallery > gallery.html`.

use std::io::Write;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use plot::{
    Axis, Bar, BarGroup, Bars, Caption, Cloud, CriticalDifference, Interval, Intervals, Line,
    Lines, Matrix, Point, RankLine, Ranks, Scatter, Spread, Stroke,
};

const MODELS: [&str; 13] = [
    "DINOv2 ViT-L/14",
    "DINOv2 ViT-g/14",
    "DINOv2 ViT-B/14",
    "DINOv2 ViT-S/14",
    "CLIP ViT-L/14",
    "OpenCLIP ViT-H/14",
    "MAE ViT-L/16",
    "MSN ViT-L/16",
    "SAM ViT-L/16",
    "DenseNet-201 (ImageNet)",
    "ResNet-152 (ImageNet)",
    "VGG-19",
    "BiomedCLIP ViT-B/16",
];
const DATASETS: [&str; 9] = [
    "NIH Chest X-ray",
    "CheXpert",
    "Montgomery County",
    "SARS-CoV-2 CT",
    "Brain Tumour MRI",
    "AMOS",
    "MSD Heart",
    "MSD Hippocampus",
    "MSD Spleen",
];

/// A number in `[0, 1)` that looks random.
fn noise(i: usize) -> f64 {
    let bits = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (bits >> 40) as f64 / (1u64 << 24) as f64
}

fn caption(id: &str, title: &str) -> Caption {
    Caption::new(id, title, "An example with invented numbers.")
}

fn bars(horizontal: bool, series: usize, groups: usize) -> (Caption, Markup) {
    let title = format!("Bars of {groups} groups and {series} series");
    let caption = caption(&format!("bars-{horizontal}-{series}-{groups}"), &title);
    let bar = |i: usize| {
        let value = 0.72 + 0.2 * noise(i);
        Bar {
            value: (i % 17 != 5).then_some(value),
            interval: (i % 17 != 5).then_some((value - 0.03, value + 0.02)),
            reference: i
                .is_multiple_of(3)
                .then_some(value - 0.04 + 0.08 * noise(i + 99)),
        }
    };
    let group = |g: usize| BarGroup {
        name: if groups > 9 {
            format!("{} on a dataset", MODELS[g])
        } else {
            DATASETS[g].to_string()
        },
        bars: (0..series).map(|s| bar(13 * g + s)).collect(),
    };
    let chart = Bars {
        caption: caption.clone(),
        axis: Axis::new("AUROC").range(0.5, 1.0),
        series: MODELS[..series].iter().map(ToString::to_string).collect(),
        groups: (0..groups).map(group).collect(),
        reference: "published".to_string(),
        horizontal,
    };
    (caption, chart.svg())
}

fn few_shot() -> (Caption, Markup) {
    let caption = caption("few-shot", "Few-shot curves with fitted ones");
    let shots = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];
    let level = |m: usize, shots: f64| 0.95 - (0.2 + 0.02 * m as f64) * shots.powf(-0.35);
    let mut lines: Vec<Line> = (0..4)
        .map(|m| {
            let point = |(i, shots): (usize, &f64)| {
                let y = level(m, *shots) + 0.02 * (noise(10 * m + i) - 0.5);
                Point {
                    x: *shots,
                    y,
                    interval: Some((y - 0.04 / shots.sqrt(), y + 0.04 / shots.sqrt())),
                }
            };
            let points = shots.iter().enumerate().map(point).collect();
            Line {
                stroke: Stroke::Points,
                ..Line::new(MODELS[3 * m], points)
            }
        })
        .collect();
    for m in 0..4 {
        let points = (0..60)
            .map(|i| 1.12f64.powi(i))
            .map(|x| Point::new(x, level(m, x)))
            .collect();
        lines.push(Line {
            points,
            stroke: Stroke::Dashed,
            of: Some(m),
            ..Line::default()
        });
    }
    let x = Axis::new("labelled examples per class").log().ticks(vec![
        1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0,
    ]);
    let chart = Lines {
        caption: caption.clone(),
        x,
        y: Axis::new("AUROC"),
        lines,
        ..Lines::default()
    };
    (caption, chart.svg())
}

fn many_lines() -> (Caption, Markup) {
    let caption = caption("lines-13", "Thirteen series");
    let line = |m: usize| {
        let y = |x: f64| {
            0.9 - 0.02 * m as f64 - 0.3 * (-0.3 * x).exp() + 0.01 * noise(m * 31 + x as usize)
        };
        Line::new(
            MODELS[m],
            (0..9)
                .map(|i| Point::new(f64::from(i), y(f64::from(i))))
                .collect(),
        )
    };
    let chart = Lines {
        caption: caption.clone(),
        x: Axis::new("layers"),
        y: Axis::new("accuracy"),
        lines: (0..13).map(line).collect(),
        ..Lines::default()
    };
    (caption, chart.svg())
}

fn roc() -> (Caption, Markup) {
    let caption = caption("roc", "ROC curves");
    let line = |m: usize| {
        let points = (0..=40)
            .map(|i| f64::from(i) / 40.0)
            .map(|x| Point::new(x, x.powf(0.15 + 0.1 * m as f64)));
        Line {
            stroke: Stroke::Steps,
            ..Line::new(MODELS[m], points.collect())
        }
    };
    let chart = Lines {
        caption: caption.clone(),
        x: Axis::new("1 − specificity").range(0.0, 1.0),
        y: Axis::new("sensitivity").range(0.0, 1.0),
        lines: (0..5).map(line).collect(),
        diagonal: true,
        square: true,
    };
    (caption, chart.svg())
}

fn calibration() -> (Caption, Markup) {
    let caption = caption("calibration", "Calibration with a band");
    let point = |i: i32| {
        let x = f64::from(i) / 10.0 + 0.05;
        Point {
            x,
            y: x.powf(1.4),
            interval: Some((x.powf(1.7) - 0.04, x.powf(1.2) + 0.04)),
        }
    };
    let line = Line {
        spread: Spread::Band,
        ..Line::new("model", (0..10).map(point).collect())
    };
    let chart = Lines {
        caption: caption.clone(),
        x: Axis::new("predicted probability").range(0.0, 1.0),
        y: Axis::new("observed frequency").range(0.0, 1.0),
        lines: vec![line],
        diagonal: true,
        square: true,
    };
    (caption, chart.svg())
}

fn scatter() -> (Caption, Markup) {
    let caption = caption("scatter", "Map of 12,000 slices");
    let cloud = |c: usize| {
        let point = |i: usize| {
            let (r, turn) = (
                (-2.0 * (1.0 - noise(7 * i + c)).ln()).sqrt(),
                std::f64::consts::TAU * noise(7 * i + c + 500_000),
            );
            (
                3.0 * (c as f64).cos() * c as f64 / 2.0 + r * turn.cos(),
                3.0 * (c as f64).sin() + r * turn.sin(),
            )
        };
        Cloud {
            name: DATASETS[c].to_string(),
            points: (0..1500).map(point).collect(),
            titles: Vec::new(),
        }
    };
    let chart = Scatter {
        caption: caption.clone(),
        clouds: (0..8).map(cloud).collect(),
        map: true,
        ..Scatter::default()
    };
    (caption, chart.svg())
}

fn scatter_with_axes() -> (Caption, Markup) {
    let caption = caption("scatter-axes", "Linear head against U-Net");
    let cloud = |c: usize| Cloud {
        name: DATASETS[c + 5].to_string(),
        points: (0..13)
            .map(|m| {
                (
                    0.5 + 0.4 * noise(c * 13 + m),
                    0.6 + 0.35 * noise(c * 13 + m),
                )
            })
            .collect(),
        titles: MODELS.iter().map(ToString::to_string).collect(),
    };
    let chart = Scatter {
        caption: caption.clone(),
        x: Axis::new("Dice, linear head"),
        y: Axis::new("Dice, U-Net"),
        clouds: (0..4).map(cloud).collect(),
        map: false,
    };
    (caption, chart.svg())
}

fn critical(difference: Option<f64>) -> (Caption, Markup) {
    let caption = caption(
        &format!("cd-{}", difference.is_some()),
        "Critical differences",
    );
    let ranks = MODELS
        .iter()
        .enumerate()
        .map(|(m, name)| (name.to_string(), 2.0 + 9.5 * noise(m)));
    let ranks: Vec<(String, f64)> = ranks.collect();
    let mut order: Vec<usize> = (0..13).collect();
    order.sort_by(|a, b| ranks[*a].1.total_cmp(&ranks[*b].1));
    let cliques = vec![
        order[..6].to_vec(),
        order[2..9].to_vec(),
        order[7..].to_vec(),
    ];
    let chart = CriticalDifference {
        caption: caption.clone(),
        ranks,
        cliques,
        difference,
    };
    (caption, chart.svg())
}

fn intervals() -> (Caption, Markup) {
    let caption = caption("intervals", "Differences with intervals");
    let row = |i: usize| {
        let value = 0.08 * (noise(i) - 0.4);
        Interval {
            name: format!("{} against {}", MODELS[i % 13], MODELS[(i + 3) % 13]),
            group: DATASETS[i / 4].to_string(),
            value: (i != 5).then_some(value),
            interval: (i != 5).then_some((value - 0.02, value + 0.015)),
        }
    };
    let chart = Intervals {
        caption: caption.clone(),
        axis: Axis::new("difference of AUROC"),
        rows: (0..12).map(row).collect(),
        reference: Some(0.0),
    };
    (caption, chart.svg())
}

fn matrix(classes: usize) -> (Caption, Markup) {
    let caption = caption(
        &format!("matrix-{classes}"),
        &format!("Confusion of {classes} classes"),
    );
    let count = |row: usize, column: usize| {
        let count = if row == column { 400.0 } else { 60.0 } * noise(classes * row + column);
        count as u64 / if (row + column) % 3 == 1 { 30 } else { 1 }
    };
    let chart = Matrix {
        caption: caption.clone(),
        rows: "true class".to_string(),
        columns: "predicted class".to_string(),
        names: (0..classes)
            .map(|c| format!("{} {c}", ["glioma", "meningioma", "pituitary"][c % 3]))
            .collect(),
        counts: (0..classes)
            .map(|row| (0..classes).map(|column| count(row, column)).collect())
            .collect(),
    };
    (caption, chart.svg())
}

fn ranks() -> (Caption, Markup) {
    let caption = caption("ranks", "Ranks over tasks");
    let mut models: Vec<RankLine> = MODELS
        .iter()
        .map(|name| RankLine {
            name: name.to_string(),
            ranks: Vec::new(),
        })
        .collect();
    for d in 0..9 {
        let mut order: Vec<usize> = (0..13).collect();
        order.sort_by(|a, b| {
            (*a as f64 + 9.0 * noise(d * 13 + a)).total_cmp(&(*b as f64 + 9.0 * noise(d * 13 + b)))
        });
        for (rank, model) in order.into_iter().enumerate() {
            models[model]
                .ranks
                .push((model + d != 9).then_some(rank as f64 + 1.0));
        }
    }
    let datasets = DATASETS.iter().map(ToString::to_string).collect();
    let chart = Ranks {
        caption: caption.clone(),
        datasets,
        models,
    };
    (caption, chart.svg())
}

fn hostile() -> (Caption, Markup) {
    let name = "</svg><script>alert(1)</script> & \"a long class name\" \u{202e}gnp.exe\u{0}";
    let caption = Caption::new("\"><b>", name, name);
    let bar = Bar {
        value: Some(f64::NAN),
        interval: Some((0.1, f64::INFINITY)),
        reference: Some(0.4),
    };
    let chart = Bars {
        caption: caption.clone(),
        axis: Axis::new(name),
        series: vec![name.to_string(), "b".to_string()],
        groups: vec![BarGroup {
            name: name.to_string(),
            bars: vec![
                bar,
                Bar {
                    value: Some(0.3),
                    ..bar
                },
            ],
        }],
        reference: name.to_string(),
        horizontal: true,
    };
    (caption, chart.svg())
}

fn main() -> std::io::Result<()> {
    let figures = [
        bars(false, 2, 9),
        bars(false, 1, 9),
        bars(false, 13, 4),
        bars(true, 3, 9),
        bars(true, 1, 13),
        few_shot(),
        many_lines(),
        roc(),
        calibration(),
        scatter(),
        scatter_with_axes(),
        critical(Some(4.3)),
        critical(None),
        intervals(),
        matrix(3),
        matrix(8),
        matrix(14),
        matrix(20),
        ranks(),
        hostile(),
        {
            let c = caption("none", "Nothing");
            let svg = Scatter {
                caption: c.clone(),
                ..Scatter::default()
            }
            .svg();
            (c, svg)
        },
    ];
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width,initial-scale=1";
                title { "Charts" }
                style { (PreEscaped(plot::stylesheet())) (PreEscaped(
                    "body{font:15px system-ui;color:var(--plot-ink);background:var(--plot-paper);margin:1rem}\
                     main{display:flex;flex-wrap:wrap;gap:2rem}figure{margin:0;max-width:100%}"
                )) }
            }
            body { main { @for (caption, svg) in &figures { (plot::figure(caption, svg)) } } }
        }
    };
    std::io::stdout().write_all(page.into_string().as_bytes())
}
