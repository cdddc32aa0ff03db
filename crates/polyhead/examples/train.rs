//! Trains a recipe and draws its own progress from the trainer's events.
//!
//! `cargo run --release --example train -- recipes/quickstart.toml train.epochs=1`

use polyhead::Result;
use polyhead::recipe::Recipe;
use polyhead::train::{Event, Trainer};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let path = args.next().unwrap_or_else(|| "recipes/quickstart.toml".to_owned());
    let overrides: Vec<String> = args.collect();
    let recipe = Recipe::read(path.as_ref(), &overrides)?;
    for event in Trainer::new(recipe, &mut |note| eprintln!("{note}"))? {
        match event? {
            Event::Planned(plan) => println!("{} steps in {} epochs", plan.steps, plan.epochs),
            Event::Step(step) if step.step % 10 == 0 || step.step == step.steps => {
                let rate = step.tokens() as f64 / step.seconds;
                for part in &step.tasks {
                    let loss = part.loss.unwrap_or(f64::NAN);
                    println!("{:>5}/{} {:<4} loss {loss:.3}  {rate:.0} tokens/s", step.step, step.steps, part.task);
                }
            }
            Event::Evaluated(scores) => {
                for (task, score) in &scores.scores {
                    println!("epoch {} {task}: {} {:.2}", scores.epoch, score.headline, score.headline_value());
                }
            }
            Event::Finished(end) => println!("{} s, best model in {}", end.seconds.round(), end.model.display()),
            _ => {}
        }
    }
    Ok(())
}
