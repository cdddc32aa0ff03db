//! Tensors as binary data: the extension of the Open Inference Protocol that Triton's clients use by default.
//!
//! ```text
//! Inference-Header-Content-Length: N
//!
//! N bytes of JSON, in which a tensor without data says {"parameters": {"binary_data_size": M}}
//! M bytes: BYTES as a length of 4 bytes before each text, INT64 and FP64 as 8 bytes a number, all of them little-endian
//! ```

use crate::error::ApiError;
use axum::body::Bytes;
use axum::http::HeaderMap;
use serde_json::Value;

/// Says how long the JSON is, before the data.
pub const HEADER: &str = "inference-header-content-length";

/// A body as its JSON and the data after it.
pub fn split(headers: &HeaderMap, body: Bytes) -> Result<(Bytes, Bytes), ApiError> {
    let Some(said) = headers.get(HEADER) else { return Ok((body, Bytes::new())) };
    let length = said.to_str().ok().and_then(|said| said.parse::<usize>().ok()).filter(|length| *length <= body.len());
    let length = length.ok_or_else(|| {
        let found: String = said.to_str().unwrap_or("?").chars().take(40).collect();
        let most = body.len();
        ApiError::invalid(format!(
            "{HEADER}: expected a number of bytes, at most the {most} of the body, found {found}"
        ))
    })?;
    Ok((body.slice(..length), body.slice(length..)))
}

/// Takes the next bytes off the data.
pub fn take(data: &mut Bytes, size: &Value, name: &str) -> Result<Bytes, ApiError> {
    let there = data.len();
    let size = size.as_u64().and_then(|size| usize::try_from(size).ok()).filter(|size| *size <= there);
    let place = format!("inputs.{name}.parameters.binary_data_size");
    let fault = || ApiError::invalid(format!("{place}: expected at most the {there} bytes that are left of the body"));
    Ok(data.split_to(size.ok_or_else(fault)?))
}

/// The texts of a tensor of `BYTES`; what is wrong with them, if they are none.
pub fn texts(mut data: &[u8]) -> Result<Vec<String>, String> {
    let mut texts = Vec::new();
    while !data.is_empty() {
        let cut = data.split_first_chunk::<4>().map(|(length, rest)| (u32::from_le_bytes(*length) as usize, rest));
        let (text, rest) = cut.and_then(|(length, rest)| rest.split_at_checked(length)).ok_or_else(|| {
            format!("expected a length of 4 bytes and so many bytes for each text, found {} bytes", data.len())
        })?;
        let text = std::str::from_utf8(text).map_err(|cause| format!("expected texts in UTF-8: {cause}"))?;
        texts.push(text.to_owned());
        data = rest;
    }
    Ok(texts)
}

/// The data of an output.
pub fn encoded(datatype: &str, data: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in data {
        match (datatype, value) {
            ("INT64", value) => bytes.extend(value.as_i64().unwrap_or_default().to_le_bytes()),
            ("FP64", value) => bytes.extend(value.as_f64().unwrap_or(f64::NAN).to_le_bytes()),
            (_, value) => {
                let text = value.as_str().unwrap_or_default();
                bytes.extend(u32::try_from(text.len()).unwrap_or_default().to_le_bytes());
                bytes.extend(text.as_bytes());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_are_read_as_they_were_written_and_what_is_cut_short_is_refused() {
        let said = ["", "Ada", "Zoë 👩‍🚀\0"];
        let data = encoded("BYTES", &said.map(Value::from));
        assert_eq!(texts(&data), Ok(said.map(str::to_owned).to_vec()));
        for cut in (1..data.len()).filter(|cut| ![4, 11].contains(cut)) {
            assert!(texts(&data[..cut]).is_err(), "{cut}");
        }
        assert!(texts(b"\xff\xff\xff\xffAda").is_err() && texts(b"\x01\0\0\0\xff").is_err());
        assert_eq!(encoded("INT64", &[json!(-2)]), (-2_i64).to_le_bytes());
        assert_eq!(encoded("FP64", &[json!(1), json!(0.5)]), [1.0_f64.to_le_bytes(), 0.5_f64.to_le_bytes()].concat());
    }

    #[test]
    fn a_body_is_cut_where_its_head_says_and_nowhere_else() {
        let body = || Bytes::from_static(b"{}abc");
        let split = |said: &'static str| {
            let headers = HeaderMap::from_iter(
                [(HEADER.parse().ok(), said.parse().ok())]
                    .into_iter()
                    .filter_map(|(name, value)| Some((name?, value?))),
            );
            split(&headers, body()).ok()
        };
        assert_eq!(split("2"), Some((Bytes::from_static(b"{}"), Bytes::from_static(b"abc"))));
        assert_eq!(split("5"), Some((body(), Bytes::new())));
        assert!(["6", "-1", "x", "99999999999999999999"].into_iter().all(|said| split(said).is_none()));
    }
}
