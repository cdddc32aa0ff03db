//! Protocol buffers, as much of them as an ONNX file needs: fields of a number, a float, bytes, or a message.
//!
//! ```text
//! field = tag (number << 3 | wire type), then a varint, four bytes, or a length and so many bytes
//! ```

/// The fields of a message, in the order in which they are added.
#[derive(Debug, Clone, Default)]
pub(super) struct Message(Vec<u8>);

const VARINT: u64 = 0;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

impl Message {
    pub(super) fn int(mut self, field: u64, value: i64) -> Self {
        self.varint(field << 3 | VARINT);
        self.varint(value as u64);
        self
    }

    pub(super) fn float(mut self, field: u64, value: f32) -> Self {
        self.varint(field << 3 | FIXED32);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(super) fn text(mut self, field: u64, value: &str) -> Self {
        self.header(field, value.len());
        self.0.extend_from_slice(value.as_bytes());
        self
    }

    pub(super) fn message(mut self, field: u64, value: &Self) -> Self {
        self.header(field, value.0.len());
        self.0.extend_from_slice(&value.0);
        self
    }

    /// The head of a field of so many bytes, which whoever asks appends.
    pub(super) fn header(&mut self, field: u64, length: usize) {
        self.varint(field << 3 | LENGTH);
        self.varint(length as u64);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(super) fn append(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the description of the format (protobuf.dev, "Encoding").
    #[test]
    fn fields_are_those_of_the_description_of_the_format() {
        assert_eq!(Message::default().int(1, 150).bytes(), [0x08, 0x96, 0x01]);
        assert_eq!(Message::default().int(1, -2).bytes().len(), 11);
        let text = [0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67];
        assert_eq!(Message::default().text(2, "testing").bytes(), text);
        let inner = Message::default().int(1, 150);
        assert_eq!(Message::default().message(3, &inner).bytes(), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        assert_eq!(Message::default().float(2, 1.0).bytes(), [0x15, 0, 0, 0x80, 0x3f]);
    }
}
