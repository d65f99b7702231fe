//! All probes give what an independent restatement in Python gives: `scripts/dev/restate`.

use std::fs;
use std::path::Path;

use image::{GrayImage, Luma};
use serde_json::Value;

use crate::lab::{Lab, Run, nifti, program, python};

/// Findings of NIH ChestX-ray14, of which the study's code makes one more, and CheXpert's.
const NIH: &str = "Atelectasis,Cardiomegaly,Consolidation,Edema,Effusion,Emphysema,Fibrosis,Hernia,\
    Infiltration,Mass,Nodule,Pleural_Thickening,Pneumonia,Pneumothorax";
const CHEXPERT: &str = "Cardiomegaly,Edema,Consolidation,Atelectasis,Pleural Effusion";

/// Numbers that look random, the same on every machine.
struct Noise(u32);

impl Noise {
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) % end
    }
}

/// A grey image of noise with a square that is hard to see, at the place of `kind`.
fn blurred(lab: &Lab, name: &str, kind: u32, noise: &mut Noise) {
    let path = lab.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let bright = noise.below(60);
    let image = GrayImage::from_fn(40, 32, |x, y| {
        let is_inside = (4 + 10 * kind..12 + 10 * kind).contains(&x) && (8..24).contains(&y);
        let value = 40 + noise.below(120) + if is_inside { bright } else { 0 };
        Luma([value as u8])
    });
    image.save(&path).unwrap();
}

/// Two images of each of 40 patients. `label` gives the cells of an image of patient `p`.
fn images(
    lab: &Lab,
    name: &str,
    (header, splits): (&str, [&str; 4]),
    label: impl Fn(u32, &mut Noise) -> String,
) -> std::path::PathBuf {
    let mut noise = Noise(7);
    let mut csv = format!("image,patient,split,{header}\n");
    for p in 0..40 {
        for k in 0..2 {
            let image = format!("{name}/{p}-{k}.png");
            blurred(lab, &image, p % 3, &mut noise);
            let (split, cells) = (splits[p as usize / 3 % 4], label(p, &mut noise));
            csv += &format!("{image},p{p},{split},{cells}\n");
        }
    }
    lab.write(&format!("{name}.csv"), csv)
}

fn extract(lab: &Lab, name: &str, root: &Path, more: &[&str]) {
    Run::of(lab.extract_as(name, "manifest", root).args(more)).expect(0);
}

/// Cells of `classes` labels: present, absent, uncertain or blank.
fn findings(classes: u32, p: u32, noise: &mut Noise) -> String {
    let cells = (0..classes).map(|class| match noise.below(10) {
        0 => "",
        1 => "-1",
        2 | 3 => "1",
        _ if (p + class).is_multiple_of(5) => "1",
        _ => "0",
    });
    cells.collect::<Vec<_>>().join(",")
}

/// Volumes with masks of two structures, which some slices have.
fn volumes(lab: &Lab) -> std::path::PathBuf {
    let mut csv = String::from("id,image,mask,patient,split\n");
    let mut noise = Noise(3);
    for v in 0..24 {
        let mut voxels = vec![0.0; 8 * 8 * 4];
        let mut mask = voxels.clone();
        for (at, value) in voxels.iter_mut().enumerate() {
            let (slice, x) = (at / 64, at % 8);
            let structure = if (v + slice) % 3 == 0 && x < 3 {
                1.0
            } else if (v * slice) % 5 == 4 && x > 5 {
                2.0
            } else {
                0.0
            };
            mask[at] = structure;
            *value = noise.below(50) as f32 + 12.0 * structure;
        }
        lab.write(&format!("v{v}.nii"), nifti([8, 8, 4], &voxels));
        lab.write(&format!("m{v}.nii"), nifti([8, 8, 4], &mask));
        let split = ["train", "train", "val", "test"][v % 4];
        csv += &format!("{v},v{v}.nii,m{v}.nii,q{},{split}\n", v % 4 + v / 8 * 4);
    }
    lab.write("classes.csv", "value,name\n1,left\n2,right\n");
    lab.write("volumes.csv", csv)
}

fn probe(lab: &Lab, command: &str) {
    let words: Vec<&str> = command.split_whitespace().collect();
    let more = ["--bootstrap", "0"];
    lab.probe_with(words[0], &[&words[1..], &more[..]].concat())
        .expect(0);
}

/// Two images of each patient, of which some are blank, some equal to another, and of one class in
/// `test` only.
fn gaps(lab: &Lab) {
    let label = |p: u32, noise: &mut Noise| match (noise.below(5), p / 3 % 4, p % 3) {
        (0, ..) => "",
        (_, 3, 0) => "c",
        (_, _, kind) => ["b", "a", "b"][kind as usize],
    };
    let splits = ["train", "train", "val", "test"];
    let table = images(lab, "gaps", ("label", splits), |p, n| {
        label(p, n).to_owned()
    });
    // In `test` alone: rounding decides which of two equal neighbours with different labels is nearer.
    for p in [10, 22, 34] {
        for k in 0..2 {
            let file = |p: i32| lab.path(&format!("gaps/{p}-{k}.png"));
            fs::copy(file(p), file(p - 1)).unwrap();
        }
    }
    extract(lab, "gaps", &table, &[]);
}

/// Blank labels, ties, and a class that nothing is learnt of.
fn with_gaps(lab: &Lab) {
    gaps(lab);
    for (command, options) in [
        ("knn", "--k 2,7"),
        ("knn", "--k 2 --vote distance"),
        ("knn", "--k 5 --vote majority"),
        ("linear", "--lr 0.05 --blocks 1 --epochs 3 --batch-size 16"),
        ("linear", "--lr 0.01 --blocks 1 --epochs 3 --per-patient"),
        ("logreg", "--C 0.000001,0.001,10"),
        ("ridge", "--alpha 0.01,1,100"),
        ("few-shot", "--head centroid --shots 2,all --repeats 2"),
    ] {
        let words = format!("{command} --dataset gaps {options} --protocol paper,strict");
        probe(lab, &words);
    }
}

/// Test images that are copies of training images: fits to few of them give equal scores in exact
/// arithmetic, which rounding ranks either way.
fn with_copies(lab: &Lab) {
    let splits = ["train", "train", "val", "test"];
    let class = |p: u32, _: &mut Noise| ["a", "b", "c"][p as usize % 3].to_owned();
    let table = images(lab, "copies", ("label", splits), class);
    for p in (0..40).filter(|p| p / 3 % 4 == 3) {
        let file = |p: i32, k: i32| lab.path(&format!("copies/{p}-{k}.png"));
        for to in [file(p, 0), file(p, 1), file(p - 9, 1)] {
            fs::copy(file(p - 9, 0), to).unwrap();
        }
    }
    extract(lab, "copies", &table, &[]);
    for head in ["logreg --C 0.1,10", "centroid", "knn --k 1,3"] {
        let few = "--dataset copies --shots 1,2 --repeats 5";
        probe(lab, &format!("few-shot --head {head} {few}"));
    }
}

/// Intervals and negative controls.
fn with_draws(lab: &Lab) {
    for words in [
        "knn --dataset nih --k 3 --per-patient --bootstrap 25 --level 0.8",
        "logreg --dataset gaps --C 0.1 --bootstrap 25 --seed 3",
        "linear --dataset volumes --lr 0.05 --blocks 1 --epochs 2 --bootstrap 25",
        "knn --dataset volumes --k 3 --control metadata-only --bootstrap 0",
        "knn --dataset three --k 3,7 --control random-features --bootstrap 0",
        "linear --dataset three --lr 0.05 --blocks 1 --epochs 2 --control random-features --bootstrap 0",
        "knn --dataset three --k 3,7 --control shuffled-labels --permutations 3",
        "logreg --dataset two --C 0.1,10 --control shuffled-labels --permutations 3",
        "few-shot --head knn --k 3 --dataset three --shots 2 --repeats 2 --control shuffled-labels --permutations 3",
        "few-shot --head centroid --dataset nih --shots 3,all --repeats 2 --control shuffled-labels --permutations 2",
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let protocols = ["--protocol", "paper,strict"];
        lab.probe_with(words[0], &[&words[1..], &protocols].concat())
            .expect(0);
    }
}

/// Datasets of every kind of label and split.
fn datasets(lab: &Lab) {
    let whole = ["train", "train", "val", "test"];
    let class = |p: u32, _: &mut Noise| ["a", "b", "c"][p as usize % 3].to_owned();
    let three = images(lab, "three", ("label", whole), class);
    extract(lab, "three", &three, &["--views", "2"]);
    let two = |p: u32, _: &mut Noise| ["a", "b", "a"][p as usize % 3].to_owned();
    let two = images(
        lab,
        "two",
        ("label", ["train", "train", "train", "test"]),
        two,
    );
    extract(lab, "two", &two, &[]);
    // To `compare`, another input size is another backbone.
    extract(lab, "two", &two, &["--image-size", "28"]);
    let nih = images(lab, "nih", (NIH, whole), |p, noise| findings(14, p, noise));
    extract(lab, "nih", &nih, &["--label-columns", NIH]);
    let chexpert = images(lab, "chexpert", (CHEXPERT, whole), |p, noise| {
        findings(5, p, noise)
    });
    extract(lab, "chexpert", &chexpert, &["--label-columns", CHEXPERT]);
    let size = ["--label-columns", CHEXPERT, "--image-size", "28"];
    extract(lab, "chexpert", &chexpert, &size);
    let blank = |p: u32, _: &mut Noise| ["a", "", "c", "b"][p as usize % 4].to_owned();
    let later = images(lab, "later", ("label", whole), blank);
    extract(lab, "later", &later, &[]);
    extract(lab, "volumes", &volumes(lab), &[]);
}

/// Applies the linear and ridge heads to all caches of their backbone: datasets of the same classes, of
/// others, and with cases that have no labels.
fn predictions(lab: &Lab) {
    let read = |probe| fs::read_to_string(lab.path(&format!("runs/{probe}.jsonl"))).unwrap();
    let text = read("linear") + &read("ridge");
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let head = lab.path("runs").join(record["head"].as_str().unwrap());
        let predict = format!("predict --head {} --allow-mismatch", head.display());
        probe(lab, &predict);
        let own = record["dataset"].as_str().unwrap();
        probe(
            lab,
            &format!("{predict} --dataset {own} --eval all --per-patient"),
        );
    }
}

/// Copies the records of a pair to `pair`; returns the output of `compare`.
fn one_pair(lab: &Lab) -> String {
    let text = fs::read_to_string(lab.path("runs/few-shot.jsonl")).unwrap();
    let is_of_pair = |line: &&str| line.contains("\"two\"") && line.contains("centroid shots=all");
    let lines: Vec<&str> = text.lines().filter(is_of_pair).collect();
    assert_eq!(lines.len(), 2);
    lab.write("pair/few-shot.jsonl", lines.join("\n") + "\n");
    for line in lines {
        let record: Value = serde_json::from_str(line).unwrap();
        let scores = record["predictions"].as_str().unwrap();
        let bytes = fs::read(lab.path("runs").join(scores)).unwrap();
        lab.write(&format!("pair/{scores}"), bytes);
    }
    let mut command = program("probe");
    command.args(["compare", "--format", "json", "--runs"]);
    Run::of(command.arg(lab.path("pair"))).expect(0).stdout
}

/// Restates the records of a folder and the pairs that `compare` printed to `compared`.
fn restate(lab: &Lab, runs: &str, compared: &Path) -> Run {
    let mut command = python("dev/restate");
    command.arg(lab.path("cache")).arg(lab.path(runs));
    Run::of(command.arg("--compared").arg(compared))
}

const BOTH: &str = "--protocol paper,strict --force";
const LINEAR: &str = "--lr 0.001,0.05 --blocks 1,2 --epochs 3 --batch-size 16";

/// Every probe with the options that change its results.
fn evaluations(lab: &Lab) {
    let logreg = "--C 0.001,0.1,10,100000";
    for vote in ["softmax", "majority", "distance"] {
        probe(
            lab,
            &format!("knn --dataset three --k 3,7 --vote {vote} {BOTH}"),
        );
        probe(lab, &format!("knn --dataset chexpert --k 5 --vote {vote}"));
    }
    for dataset in ["two", "nih", "chexpert", "volumes"] {
        probe(lab, &format!("knn --dataset {dataset} --k 3,7 {BOTH}"));
    }
    for dataset in ["three", "two", "nih"] {
        probe(lab, &format!("linear --dataset {dataset} {LINEAR} {BOTH}"));
        probe(lab, &format!("logreg --dataset {dataset} {logreg} {BOTH}"));
        probe(
            lab,
            &format!("ridge --dataset {dataset} --alpha 1,1000 {BOTH}"),
        );
    }
    probe(
        lab,
        "linear --dataset three --lr dinov2 --blocks 1 --epochs 2 --select accuracy",
    );
    probe(
        lab,
        "logreg --dataset two --C 0.01,1 --select accuracy --val-share 0.3 --seed 5",
    );
    probe(lab, "knn --dataset volumes --k 3 --unit volume");
    probe(
        lab,
        &format!("linear --dataset volumes --unit volume {LINEAR}"),
    );
    for command in [
        "knn --dataset nih --k 3,7",
        "logreg --dataset two --C 0.1,10",
    ] {
        probe(lab, &format!("{command} --per-patient"));
    }
}

/// The names of all probes, as `probe few-shot --help` lists them.
fn heads() -> Vec<String> {
    let help = Run::of(program("probe").args(["few-shot", "--help"])).expect(0);
    let (_, values) = help.stdout.split_once("--head <NAME>").unwrap();
    let lines = values.lines().map(str::trim_start);
    let lines = lines.skip_while(|line| !line.starts_with("- "));
    let values = lines.map_while(|line| line.strip_prefix("- "));
    let names = values.map(|line| line.split(' ').next().unwrap().to_owned());
    names.collect()
}

/// Every head of few-shot runs.
fn few_shots(lab: &Lab) {
    // Logistic regression needs two classes in a draw.
    for (head, options, shots) in [
        ("knn", "--k 3", "2,4,all"),
        ("centroid", "", "2,4,all"),
        ("linear", LINEAR, "2,4,all"),
        ("logreg", "--C 0.1", "8,all"),
        ("ridge", "--alpha 10", "2,all"),
    ] {
        for dataset in ["three", "nih"] {
            let few = format!("--shots {shots} --repeats 2");
            probe(
                lab,
                &format!("few-shot --head {head} --dataset {dataset} {options} {few} {BOTH}"),
            );
        }
    }
    probe(
        lab,
        "few-shot --head linear --dataset two --lr 0.1 --shots 3 --draw examples --repeats 2",
    );

    probe(lab, "few-shot --head centroid --dataset two --shots all");
    let curve = "--shots 1,2,4,all --curve --target 0.8,0.99";
    probe(
        lab,
        &format!("few-shot --head centroid --dataset three {curve}"),
    );
}

#[test]
fn all_probes_give_what_a_restatement_in_python_gives() {
    let lab = Lab::new();
    datasets(&lab);
    evaluations(&lab);
    few_shots(&lab);
    with_gaps(&lab);
    with_copies(&lab);
    predictions(&lab);
    with_draws(&lab);
    let few = ["--format", "json", "--bootstrap", "10", "--level", "0.8"];
    let compared = lab.compare(&few).expect(0).stdout;
    let pairs = compared.lines().count();
    for kind in ["knn", "linear", "logreg", "ridge", "few-shot", "predict"] {
        let is_there = compared.contains(&format!("\"probe\":\"{kind}\""));
        assert!(is_there, "no {kind} in {compared}");
    }
    let records = fs::read_to_string(lab.path("runs/few-shot.jsonl")).unwrap();
    for head in heads() {
        let is_there = records.contains(&format!("\"head\":\"{head}\""));
        assert!(is_there, "no few-shot run of {head}: add it to `few_shots`");
    }
    let file = lab.write("compared.jsonl", &compared);

    let run = restate(&lab, "runs", &file).expect(0);
    let last = " 0 differs, 0 not restated";
    assert!(run.stdout.contains(last), "{}", run.stdout);
    assert!(run.stdout.contains(&format!("{pairs} pairs: the same")));
    assert!(
        run.stdout.contains("curve strict centroid: the same"),
        "{}",
        run.stdout
    );
    for head in [
        "strict head of three",
        "paper head of nih",
        "strict head of volumes",
    ] {
        let line = format!("predict {head}: the same");
        assert!(run.stdout.contains(&line), "no `{line}` in {}", run.stdout);
    }
    differences(&lab);
}

#[test]
fn comparisons_of_decoders_are_what_a_restatement_in_python_gives() {
    let lab = Lab::new();
    let table = volumes(&lab);
    for size in ["14", "28"] {
        extract(
            &lab,
            "volumes",
            &table,
            &["--tokens", "all", "--image-size", size],
        );
    }
    let fit = "segment --lr 0.5 --epochs 12 --batch-size 8 --loss dice-ce";
    probe(&lab, &format!("{fit} --protocol paper,strict"));
    probe(&lab, &format!("{fit} --shots 2 --repeats 3"));
    let few = [
        "--probe",
        "segment",
        "--format",
        "json",
        "--bootstrap",
        "40",
    ];
    let compared = lab.compare(&few).expect(0).stdout;
    for words in [
        "\"dice_macro\"",
        "\"dice_pooled\"",
        "\"unit\":\"draw\"",
        "\"unit\":\"patient\"",
    ] {
        assert!(compared.contains(words), "no {words} in {compared}");
    }
    let run = restate(&lab, "runs", &lab.write("compared.jsonl", &compared)).expect(0);
    assert!(run.stdout.contains("3 pairs: the same"), "{}", run.stdout);
    let other = compared.replacen("\"units\":", "\"units\":1", 1);
    let run = restate(&lab, "runs", &lab.write("other.jsonl", &other)).expect(1);
    assert!(run.stdout.contains("units is"), "{}", run.stdout);
}

/// Changed results are found: a pair that is missing, one with another figure, and a wrong record.
fn differences(lab: &Lab) {
    let compared = one_pair(lab);
    let other = compared.replacen("\"cases\":", "\"cases\":1", 1);
    for (lines, status, told) in [
        (compared.as_str(), 0, "1 pairs: the same"),
        ("", 1, "pairs: differs: 0 are compared"),
        (&other, 1, "pairs: differs: compared"),
    ] {
        let run = restate(lab, "pair", &lab.write("pair.jsonl", lines)).expect(status);
        assert!(run.stdout.contains(told), "{}", run.stdout);
    }
    let text = fs::read_to_string(lab.path("runs/logreg.jsonl")).unwrap();
    let record = text.lines().next().unwrap();
    let wrong = record.replacen("\"n_train\":", "\"n_train\":1", 1);
    lab.write("wrong/logreg.jsonl", wrong + "\n");
    let run = Run::of(
        python("dev/restate")
            .arg(lab.path("cache"))
            .arg(lab.path("wrong")),
    )
    .expect(1);
    assert!(run.stdout.contains("differs: n_train is"), "{}", run.stdout);
}
