//! Host names and origins as a command line has them: checked, and brought into the form in which browsers send them.
//!
//! ```text
//! HTTPS://Example.org:443/  -> https://example.org        ::1 -> [::1]        Ner.Example. -> ner.example
//! ```

use polyhead::{Error, Result};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

/// A host name or address in lower case, without port and last dot; addresses of version 6 in brackets. None, if it is none.
pub fn canonical(host: &str) -> Option<String> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().ok().map(|address| format!("[{address}]"));
    }
    let labels = || host.split('.');
    let fits = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if host.len() > 253 || !labels().all(fits) {
        return None;
    }
    // Browsers take what ends in a number for an address, and refuse it if it is none.
    let number = labels().next_back().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    (!number || host.parse::<Ipv4Addr>().is_ok()).then(|| host.to_ascii_lowercase())
}

/// An address as it stands in a URL.
pub fn bracketed(address: IpAddr) -> String {
    if address.is_ipv6() { format!("[{address}]") } else { address.to_string() }
}

/// `name:80` as name and port; `[::1]:80` too.
pub fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && (!name.contains(':') || name.ends_with(']')) => (name, Some(port)),
        _ => (host, None),
    }
}

/// A name by which the server may be asked, as `--allow-host` has it.
pub fn allowed_host(text: &str) -> Result<String> {
    let text = text.trim();
    let expected = |found: &str| Error::usage(format!("--allow-host: expected a name as in ner.example.org, {found}"));
    if text.contains('*') {
        return Err(expected(&format!("found `{text}`")).hint(
            "each name by itself: by a name of its own that leads here, a foreign page could ask this server; one that \
             listens to the network (--host 0.0.0.0) without --allow-host answers to any name",
        ));
    }
    if let Ok(address @ IpAddr::V6(_)) = text.parse() {
        return Ok(bracketed(address));
    }
    let name = match text.split_once("://") {
        Some((_, rest)) => split_port(rest.split('/').next().unwrap_or(rest)).0,
        // A bare address of version 6.
        None => split_port(text.split('/').next().unwrap_or(text)).0,
    };
    match canonical(name) {
        Some(host) if name == text => Ok(host),
        Some(host) => Err(expected(&format!("found more than that: `{text}`"))
            .hint(format!("scheme, port and path are not compared: --allow-host {host}"))),
        None => {
            Err(expected(&format!("found `{text}`")).hint(hint_for_letters(text, "a name, without scheme and port")))
        }
    }
}

/// A site whose pages may ask, as `--allow-origin` has it.
pub fn allowed_origin(text: &str) -> Result<String> {
    let text = text.trim();
    let fault = |found: &str, hint: String| {
        Err(Error::usage(format!("--allow-origin: expected an origin as in https://example.org, {found}")).hint(hint))
    };
    let found = format!("found `{text}`");
    if text.contains('*') {
        let hint = "each site by itself: any page that someone opens could ask this server through their browser";
        return fault(&found, hint.into());
    }
    if text == "null" {
        return fault(
            &found,
            "any page may come as `null` (files, sandboxed frames): serve the page from a site".into(),
        );
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        let name = canonical(split_port(text).0).map(|_| text.to_ascii_lowercase());
        let hint = name.map_or("SCHEME://NAME or SCHEME://NAME:PORT".into(), |name| {
            format!("with its scheme: --allow-origin https://{name}, or http://{name}")
        });
        return fault(&found, hint);
    };
    let scheme = scheme.to_ascii_lowercase();
    let known = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let (host, port) = split_port(authority);
    let number = port.map(|port| port.parse::<u16>().ok().filter(|_| port.bytes().all(|byte| byte.is_ascii_digit())));
    let usual = match scheme.as_str() {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    let (true, Some(host), false) = (known, canonical(host), number == Some(None)) else {
        return fault(&found, hint_for_letters(authority, "SCHEME://NAME or SCHEME://NAME:PORT"));
    };
    let port = number.flatten().filter(|port| Some(*port) != usual).map_or(String::new(), |port| format!(":{port}"));
    let origin = format!("{scheme}://{host}{port}");
    if authority != rest {
        return fault(&format!("found a path too: `{text}`"), format!("an origin has none: --allow-origin {origin}"));
    }
    Ok(origin)
}

fn hint_for_letters(text: &str, otherwise: &str) -> String {
    if text.is_ascii() {
        otherwise.to_owned()
    } else {
        "names with other letters are sent in their ASCII form, as in xn--mnchen-3ya.example: write that".to_owned()
    }
}

/// Where to listen: the address itself, or the one that a name stands for; of several the first of version 4.
pub fn listen(host: &str, port: u16) -> Result<SocketAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, port));
    }
    let fault = |found: String| Error::usage(format!("--host: expected an address or a name of this machine, {found}"));
    if canonical(host).is_none() {
        let error = fault(format!("found `{host}`"));
        return Err(error.hint("as in 127.0.0.1, ::1, localhost, 0.0.0.0; the port is --port"));
    }
    let found = (host, port).to_socket_addrs().map_err(|cause| {
        fault(format!("found `{host}`, which stands for none: {cause}"))
            .hint("as in 127.0.0.1, ::1, localhost, 0.0.0.0")
    })?;
    let found: Vec<SocketAddr> = found.collect();
    let address = found.iter().find(|address| address.is_ipv4()).or_else(|| found.first());
    address.copied().ok_or_else(|| fault(format!("found `{host}`, which stands for none")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_kept_as_browsers_send_them() {
        for (said, kept) in [
            ("https://example.org", "https://example.org"),
            ("HTTPS://Example.ORG/", "https://example.org"),
            ("https://example.org:443", "https://example.org"),
            ("http://example.org:80", "http://example.org"),
            ("https://example.org:80", "https://example.org:80"),
            ("http://localhost:3000", "http://localhost:3000"),
            (" http://[::0001]:8080 ", "http://[::1]:8080"),
            ("http://127.0.0.1:05000", "http://127.0.0.1:5000"),
            ("https://xn--mnchen-3ya.example", "https://xn--mnchen-3ya.example"),
            ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
        ] {
            assert_eq!(allowed_origin(said).ok().as_deref(), Some(kept), "{said}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused_with_the_way_out() {
        for (said, hint) in [
            ("*", "each site by itself"),
            ("https://*.example.org", "each site by itself"),
            ("null", "`null`"),
            ("example.org", "https://example.org"),
            ("Example.org:8080", "https://example.org:8080"),
            ("https://example.org/app", "--allow-origin https://example.org"),
            ("https://example.org?x", "--allow-origin https://example.org"),
            ("https://", "SCHEME://NAME"),
            ("", "SCHEME://NAME"),
            ("https://a b", "SCHEME://NAME"),
            ("https://me@example.org", "SCHEME://NAME"),
            ("https://example.org:", "SCHEME://NAME"),
            ("https://example.org:99999", "SCHEME://NAME"),
            ("https://example.org:+80", "SCHEME://NAME"),
            ("https://1.2.3.400", "SCHEME://NAME"),
            ("https://[::1", "SCHEME://NAME"),
            ("https://münchen.example", "xn--"),
        ] {
            let error = allowed_origin(said).err();
            let told = error.as_ref().and_then(|error| error.hint_text()).unwrap_or("none");
            assert!(told.contains(hint), "{said}: {told}");
            assert!(error.is_some_and(|error| error.to_string().starts_with("--allow-origin: expected")), "{said}");
        }
    }

    #[test]
    fn host_names_are_kept_as_they_are_compared_and_more_than_a_name_is_refused() {
        for (said, kept) in
            [("Ner.Example.", "ner.example"), ("::1", "[::1]"), ("[::0001]", "[::1]"), ("10.0.0.7", "10.0.0.7")]
        {
            assert_eq!(allowed_host(said).ok().as_deref(), Some(kept), "{said}");
        }
        for (said, hint) in [
            ("*", "each name"),
            ("*.example.org", "each name"),
            ("https://ner.example/x", "--allow-host ner.example"),
            ("ner.example:8080", "--allow-host ner.example"),
            ("ner.example/", "--allow-host ner.example"),
            ("", "a name"),
            ("a b", "a name"),
            ("münchen.example", "xn--"),
            ("1.2.3.400", "a name"),
        ] {
            let error = allowed_host(said).err();
            let told = error.as_ref().and_then(|error| error.hint_text()).unwrap_or("none");
            assert!(told.contains(hint), "{said}: {told}");
        }
    }

    #[test]
    fn a_server_listens_where_it_is_told_by_address_or_by_name() {
        for (host, address) in
            [("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80"), ("[::1]", "[::1]:80"), ("0.0.0.0", "0.0.0.0:80")]
        {
            assert_eq!(listen(host, 80).ok().map(|found| found.to_string()).as_deref(), Some(address), "{host}");
        }
        assert!(listen("localhost", 80).is_ok_and(|address| address.ip().is_loopback()));
        for host in ["", "http://localhost", "localhost:80", "a b", "nowhere.invalid"] {
            assert!(listen(host, 80).is_err(), "{host}");
        }
    }

    #[test]
    fn a_port_is_told_from_an_address() {
        let cases = [
            ("a:1", ("a", Some("1"))),
            ("[::1]:8", ("[::1]", Some("8"))),
            ("::1", ("::1", None)),
            (":80", (":80", None)),
        ];
        cases.into_iter().for_each(|(text, want)| assert_eq!(split_port(text), want, "{text}"));
    }
}
