//! How a model is asked on the command line: `(task, request) -> the words after "polyhead predict MODEL"`.

use super::NamedTask;
use serde_json::Value;

/// The arguments of `polyhead predict MODEL` with which a task answers this request, or where there is none a stand-in for
/// one; all words safe to paste into a shell.
pub fn arguments(task: &NamedTask, request: Option<&Value>) -> String {
    let name = &task.name;
    let field = |field: &str| {
        let given = request.and_then(|request| request.get(field)).and_then(Value::as_str);
        shell_word(given.unwrap_or("..."))
    };
    // The only text of a request needs no name.
    let alone = task.task.fields().len() == 1;
    let argument = |name: &str| match name {
        "text" => field(name),
        "question" | "context" => format!("--{name} {}", field(name)),
        name if alone => field(name),
        name => format!("--field {name}={}", field(name)),
    };
    let fields: Vec<String> = task.task.fields().iter().map(|field| argument(field.name)).collect();
    format!("--task {name} {}", fields.join(" "))
}

/// A text as one word of a POSIX shell.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:@,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_shell_gives_back_every_text_as_it_was() {
        for text in ["plain", "two words", "it's 'so'", "$(rm -rf x) `x` \"y\" \\ ! * ?", "", "Größe über 5 €", "a\nb"]
        {
            let script = format!("printf %s {}", shell_word(text));
            let said = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(said.stdout).unwrap(), text);
        }
    }
}
