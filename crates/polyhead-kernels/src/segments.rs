//! Where each sequence of a packed batch lies.

/// The sequences of a packed batch: sequence `i` owns the rows `starts[i] .. starts[i + 1]` (`cu_seqlens` in the
/// literature), of which the first `lengths[i]` are real tokens. In a packed batch all of them are; in a padded one
/// (kept for comparisons) the rest is padding that no real token attends to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Segments {
    starts: Vec<usize>,
    lengths: Vec<usize>,
}

impl Segments {
    /// Sequences of these lengths, end to end, without padding.
    pub fn packed(lengths: &[usize]) -> Self {
        Self::padded(lengths, 0)
    }

    /// Sequences of these lengths, each padded to at least `to` rows.
    pub fn padded(lengths: &[usize], to: usize) -> Self {
        let mut starts = Vec::with_capacity(lengths.len() + 1);
        let mut at = 0;
        starts.push(at);
        for &length in lengths {
            at += length.max(to);
            starts.push(at);
        }
        Self { starts, lengths: lengths.to_vec() }
    }

    /// Some of the sequences, one after the other, each with its padding.
    #[must_use]
    pub fn some(&self, sequences: &[usize]) -> Self {
        let mut some = Self { starts: vec![0], lengths: Vec::with_capacity(sequences.len()) };
        for &sequence in sequences {
            if let (Some(&length), Some(&[start, end])) = (
                self.lengths.get(sequence),
                self.starts.get(sequence..=sequence + 1).and_then(|ends| ends.first_chunk()),
            ) {
                some.lengths.push(length);
                some.starts.push(some.rows() + end - start);
            }
        }
        some
    }

    /// How many sequences there are.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there is no sequence.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// All rows, padding included.
    pub fn rows(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    /// All real tokens, padding not counted.
    pub fn tokens(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// The start of each sequence, and the end of the last: `len() + 1` numbers.
    pub fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// The real tokens of each sequence.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// The first row, the rows and the real tokens of each sequence.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Segment> + '_ {
        self.lengths.iter().zip(self.starts.windows(2)).map(|(&tokens, ends)| Segment {
            start: ends[0],
            rows: ends[1] - ends[0],
            tokens,
        })
    }
}

/// One sequence of a packed batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Its first row.
    pub start: usize,
    /// Its rows, padding included.
    pub rows: usize,
    /// Its real tokens.
    pub tokens: usize,
}
