//! Errors of object stores in the words of the file system.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};

use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};

/// Addresses at which the machines of a cloud ask for their credentials.
const METADATA: [&str; 3] = [
    "http://169.254.",
    "http://metadata.google.internal",
    "http://[fd00:ec2::",
];

/// Codes of servers for a bucket that does not exist.
const NO_BUCKET: [&str; 3] = ["NoSuchBucket", "ContainerNotFound", "bucket does not exist"];

/// The error of a request: its kind, and one line that says what is wrong, without addresses, times and the page that
/// the server sent.
///
/// A request that may succeed later has the kind [`ErrorKind::Other`], a bucket that does not exist
/// [`ErrorKind::InvalidInput`].
pub(super) fn io_error(error: Error) -> io::Error {
    let text = error.to_string();
    let answer = Answer::of(&text);
    if NO_BUCKET.iter().any(|code| text.contains(code)) {
        return io::Error::new(ErrorKind::InvalidInput, "there is no such bucket");
    }
    if METADATA.iter().any(|address| text.contains(address)) {
        let text = "no credentials are given, and this machine has none of its own";
        return io::Error::new(ErrorKind::PermissionDenied, text);
    }
    let status = answer.as_ref().map(|answer| answer.status);
    let (kind, what) = match (&error, status) {
        (Error::NotFound { .. }, _) | (_, Some(404)) => (ErrorKind::NotFound, "missing"),
        (Error::AlreadyExists { .. } | Error::Precondition { .. }, _) | (_, Some(409 | 412)) => {
            (ErrorKind::AlreadyExists, "it was written meanwhile")
        }
        (Error::PermissionDenied { .. } | Error::Unauthenticated { .. }, _)
        | (_, Some(401 | 403)) => (ErrorKind::PermissionDenied, "access denied"),
        (Error::InvalidPath { .. }, _) => (ErrorKind::InvalidInput, &*text),
        (_, Some(_)) => (ErrorKind::Other, "the server refuses the request"),
        (_, None) => (ErrorKind::Other, without_answer(&error, &text)),
    };
    let says_all = [ErrorKind::NotFound, ErrorKind::AlreadyExists].contains(&kind);
    match answer.filter(|_| !says_all) {
        Some(answer) => io::Error::new(kind, format!("{what} ({answer})")),
        None => io::Error::new(kind, what),
    }
}

/// The text of an error to which the server has not answered.
fn without_answer<'a>(error: &Error, text: &'a str) -> &'a str {
    let mut cause: Option<&dyn StdError> = Some(error);
    while let Some(of) = cause {
        if let Some(http) = of.downcast_ref::<HttpError>() {
            return match http.kind() {
                HttpErrorKind::Timeout => "the server does not answer",
                HttpErrorKind::Decode => "the server's answer is damaged",
                _ => "the server is not reachable",
            };
        }
        cause = of.source();
    }
    if text.contains("redirect without LOCATION") {
        return "the bucket is in another region";
    }
    text.lines().next().unwrap_or_default()
}

/// Answer of a server in place of a result.
#[derive(Debug, PartialEq)]
struct Answer<'a> {
    status: u16,
    /// As `503 Service Unavailable`.
    line: &'a str,
    /// The word for the error in the page that it sent.
    code: Option<&'a str>,
}

impl<'a> Answer<'a> {
    /// Finds the answer in the text of an error, since the type of these errors is not public.
    fn of(text: &'a str) -> Option<Answer<'a>> {
        let (_, text) = text.split_once("status code: ")?;
        let (line, page) = text.split_once(':').unwrap_or((text, ""));
        let code = page.split_once("<Code>").map(|(_, rest)| rest);
        let code = code.and_then(|rest| Some(rest.split_once("</Code>")?.0));
        let is_word = |code: &&str| code.len() < 80 && code.chars().all(char::is_alphanumeric);
        Some(Answer {
            status: line.split(' ').next()?.parse().ok()?,
            line: line.trim(),
            code: code.filter(is_word),
        })
    }
}

impl std::fmt::Display for Answer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.line)?;
        self.code.map_or(Ok(()), |code| write!(f, ", {code}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> Error {
        Error::Generic {
            store: "S3",
            source: text.into(),
        }
    }

    /// As `object_store` writes them.
    fn answered(status: &str, page: &str) -> Error {
        generic(&format!(
            "Error performing list request: Error performing GET http://127.0.0.1:1/b?list-type=2 in 5.1ms, \
             after 10 retries, max_retries: 10, retry_timeout: 180s  - \
             Server returned non-2xx status code: {status}: {page}"
        ))
    }

    #[test]
    fn answers_are_told_in_one_line_without_times_and_pages() {
        let page = |code| format!("<?xml version=\"1.0\"?>\n<Error>\n<Code>{code}</Code></Error>");
        for (error, kind, text) in [
            (
                answered("404 Not Found", &page("NoSuchBucket")),
                ErrorKind::InvalidInput,
                "there is no such bucket",
            ),
            (
                answered("404 Not Found", &page("NoSuchKey")),
                ErrorKind::NotFound,
                "missing",
            ),
            (
                answered("403 Forbidden", &page("InvalidAccessKeyId")),
                ErrorKind::PermissionDenied,
                "access denied (403 Forbidden, InvalidAccessKeyId)",
            ),
            (
                answered("412 Precondition Failed", &page("PreconditionFailed")),
                ErrorKind::AlreadyExists,
                "it was written meanwhile",
            ),
            (
                answered("503 Service Unavailable", "try again"),
                ErrorKind::Other,
                "the server refuses the request (503 Service Unavailable)",
            ),
            (
                generic("Error performing PUT http://169.254.169.254/latest/api/token in 3.2s"),
                ErrorKind::PermissionDenied,
                "no credentials are given, and this machine has none of its own",
            ),
            (
                generic("Received redirect without LOCATION, this normally"),
                ErrorKind::Other,
                "the bucket is in another region",
            ),
            (
                generic("Missing region\nmore"),
                ErrorKind::Other,
                "Generic S3 error: Missing region",
            ),
        ] {
            let told = io_error(error);
            assert_eq!((told.kind(), &*told.to_string()), (kind, text));
        }
    }

    #[test]
    fn the_first_word_of_a_page_that_is_no_code_is_not_told() {
        let long = "a".repeat(100);
        for page in [
            "<Code>",
            "<Code>\u{1b}[2J</Code>",
            &format!("<Code>{long}</Code>"),
        ] {
            let told = io_error(answered("500 Internal Server Error", page));
            let expected = "the server refuses the request (500 Internal Server Error)";
            assert_eq!(told.to_string(), expected);
        }
    }
}
