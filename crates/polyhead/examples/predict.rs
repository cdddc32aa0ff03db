//! Loads a trained model and asks it both kinds of question.
//!
//! `cargo run --release --example predict -- runs/quickstart`

use polyhead::Result;
use polyhead::infer::Session;
use serde_json::json;

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "runs/quickstart".to_owned());
    let session = Session::open(folder)?;

    let text = "Ada Lovelace worked with Charles Babbage in London.";
    let answer = session.ask("ner", &json!({ "text": text }))?;
    println!("{text}");
    for entity in answer["entities"].as_array().into_iter().flatten() {
        println!("  {} [{}], characters {} to {}", entity["text"], entity["type"], entity["start"], entity["end"]);
    }

    let request = json!({ "question": "Who worked with Babbage?", "context": text });
    let answer = session.ask("qa", &request)?;
    println!("Who worked with Babbage?\n  {} (score {:.2})", answer["answer"], answer["score"].as_f64().unwrap_or(0.0));
    Ok(())
}
