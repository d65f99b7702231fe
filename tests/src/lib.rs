//! Nothing here: the tests are under `it/`.
