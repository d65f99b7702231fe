use super::*;

const SHORT: Duration = Duration::from_millis(30);

fn elsewhere(dir: &Path, holder: &Holder) {
    let file = File::create(dir.join(".lock")).unwrap();
    write(&file, holder).unwrap();
}

fn other() -> Holder {
    Holder {
        host: "elsewhere".into(),
        ..Holder::this()
    }
}

#[test]
fn a_second_holder_is_refused_and_told_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("meta.json"), "").unwrap();
    let lock = CacheLock::of(dir.path()).unwrap();
    let error = CacheLock::of(dir.path()).unwrap_err().to_string();
    let process = format!("process {} on `{}`", std::process::id(), process::host());
    assert!(error.contains(&process), "{error}");
    drop(lock);
    assert_eq!(fs::read(dir.path().join(".lock")).unwrap(), b"");
    CacheLock::of(dir.path()).unwrap();
}

#[test]
fn a_lock_without_a_cache_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let lock = CacheLock::of(&dir.path().join("a/b")).unwrap();
    assert!(dir.path().join("a/b/.lock").is_file());
    drop(lock);
    assert!(!dir.path().join("a").exists());
}

#[test]
fn a_holder_stops_when_another_has_taken_its_place_and_not_when_the_disk_fails() {
    let this = Holder::this();
    let beaten = Holder {
        beat: 3,
        ..this.clone()
    };
    let error = |kind: io::ErrorKind| Err(io::Error::from(kind));
    assert!(!is_taken_over(Ok(Some(beaten)), &this));
    assert!(!is_taken_over(
        error(io::ErrorKind::StaleNetworkFileHandle),
        &this
    ));
    assert!(is_taken_over(Ok(Some(other())), &this));
    assert!(is_taken_over(Ok(None), &this));
    assert!(is_taken_over(error(io::ErrorKind::NotFound), &this));
}

#[test]
fn a_dead_holder_is_recognised_here_and_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    elsewhere(dir.path(), &Holder::this());
    drop(CacheLock::after(dir.path(), SHORT).unwrap());
    elsewhere(dir.path(), &other());
    drop(CacheLock::after(dir.path(), SHORT).unwrap());
}

#[test]
fn a_holder_elsewhere_that_renews_its_lock_is_alive() {
    let dir = tempfile::tempdir().unwrap();
    let mut holder = other();
    elsewhere(dir.path(), &holder);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(SHORT);
            holder.beat += 1;
            elsewhere(dir.path(), &holder);
        });
        let error = CacheLock::after(dir.path(), 10 * SHORT).unwrap_err();
        assert!(error.to_string().contains("`elsewhere`"), "{error}");
    });
}
