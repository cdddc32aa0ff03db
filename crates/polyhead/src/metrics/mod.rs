//! Scores, to the digit as the reference scripts count them: pure counting, no tensors.
