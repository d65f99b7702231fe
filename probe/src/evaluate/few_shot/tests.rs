use super::*;

#[test]
fn equidistant_samples_are_the_study_s() {
    assert_eq!(equidistant(92, 1), [0]);
    assert_eq!(equidistant(92, 2), [0, 46]);
    assert_eq!(equidistant(92, 4), [0, 23, 46, 69]);
    assert_eq!(equidistant(92, 8), [0, 12, 23, 34, 46, 58, 69, 80]);
    assert_eq!(equidistant(3, 8), [0, 1, 2]);
}
