//! Curves of a run over its steps: losses, learning rate, gradients. `Run -> [Chart], [Table]`
//!
//! A curve has at most [`POINTS`] points, each the mean of the steps that fall to it, so that a report of a long run
//! stays small. Behind a smoothed loss the unsmoothed means are drawn.

use super::run::Run;
use crate::document::number::{count, decimal, fine};
use crate::document::{Block, Cell, Chart, Look, Plot, Series, Table};
use crate::events::{Evaluated, Step};

/// The most points of a curve.
const POINTS: usize = 240;
/// A smoothed curve is the mean over this share of the steps (one in twenty) around each point.
const SMOOTH: usize = 20;
/// A table shows a run in so many parts.
const PARTS: usize = 5;

/// The means of at most `most` groups of neighbouring points.
pub fn thinned(points: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    let size = points.len().div_ceil(most.max(1)).max(1);
    let mean =
        |group: &[(f64, f64)], of: fn(&(f64, f64)) -> f64| group.iter().map(of).sum::<f64>() / group.len() as f64;
    points.chunks(size).map(|group| (mean(group, |point| point.0), mean(group, |point| point.1))).collect()
}

/// The mean of each point and as many on either side of it, over about a twentieth of all; near an end over as many as there
/// are on the shorter side. A mean of the points before would trail behind: where a loss falls it would lie above it.
pub fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let reach = points.len().div_ceil(SMOOTH) / 2;
    let mean = |at: usize| {
        let reach = reach.min(at).min(points.len() - 1 - at);
        let window = points.get(at - reach..=at + reach).unwrap_or(&[]);
        window.iter().map(|point| point.1).sum::<f64>() / window.len().max(1) as f64
    };
    points.iter().enumerate().map(|(at, point)| (point.0, mean(at))).collect()
}

/// The seconds of training after each step. Evaluations are not among them.
pub fn clock(run: &Run) -> Vec<(f64, f64)> {
    let mut seconds = 0.0;
    let after = |step: &Step| {
        seconds += step.seconds;
        (step.step as f64, seconds)
    };
    run.steps.iter().map(after).collect()
}

/// A value of every step that has it, where it is a number.
pub fn over_steps(run: &Run, value: impl Fn(&Step) -> Option<f64>) -> Vec<(f64, f64)> {
    let points = |step: &Step| Some((step.step as f64, value(step).filter(|value| value.is_finite())?));
    run.steps.iter().filter_map(points).collect()
}

/// The losses of one task by step.
pub fn losses(run: &Run, task: &str) -> Vec<(f64, f64)> {
    over_steps(run, |step| step.of(task)?.loss)
}

/// Whether a step was of one task alone, this one.
pub fn is_of(step: &Step, task: &str) -> bool {
    matches!(step.tasks.as_slice(), [part] if part.task == task)
}

/// Whether a step took batches of several tasks.
pub fn is_joint(step: &Step) -> bool {
    step.tasks.len() > 1
}

/// A chart over steps.
pub fn by_step(title: &str, y: &str, series: Vec<Series>, note: &str) -> Block {
    let (title, x, y, note) = (title.into(), "step".into(), y.into(), note.into());
    Block::Chart(Chart { title, x, y, plot: Plot::Lines(series), note })
}

/// A smoothed line with the unsmoothed one behind it.
fn line(name: &str, points: &[(f64, f64)]) -> Series {
    Series {
        name: name.to_owned(),
        points: thinned(&smoothed(points), POINTS),
        behind: if points.len() > 30 { thinned(points, POINTS) } else { Vec::new() },
        clock: Vec::new(),
    }
}

/// The losses of one task by step, smoothed.
pub fn loss_line(run: &Run, task: &str, name: &str) -> Series {
    Series { behind: Vec::new(), ..line(name, &losses(run, task)) }.timed(clock(run))
}

/// The loss of a task on the validation data at each evaluation, by step, where the run recorded it.
pub fn validation_losses(run: &Run, task: &str) -> Vec<(f64, f64)> {
    let of = |evaluated: &Evaluated| Some((evaluated.step as f64, evaluated.scores.get(task)?.get("loss")?));
    run.evaluations.iter().filter(|evaluated| evaluated.step > 0).filter_map(of).collect()
}

/// The total loss by step: the weighted sum of the tasks' smoothed losses, once each task had a step.
pub fn total_line(run: &Run, name: &str) -> Series {
    let tasks = run.tasks();
    let curves: Vec<(f64, Vec<(f64, f64)>)> =
        tasks.iter().map(|task| (run.loss_weight(task), smoothed(&losses(run, task)))).collect();
    let mut at = vec![0; curves.len()];
    let mut points = Vec::new();
    for step in &run.steps {
        let mut total = Some(0.0);
        for ((weight, curve), at) in curves.iter().zip(&mut at) {
            while curve.get(*at).is_some_and(|point| point.0 <= step.step as f64) {
                *at += 1;
            }
            let last = at.checked_sub(1).and_then(|last| curve.get(last));
            total = total.zip(last).map(|(total, last)| total + weight * last.1);
        }
        points.extend(total.map(|total| (step.step as f64, total)));
    }
    Series::new(name, thinned(&points, POINTS)).timed(clock(run))
}

/// The mean loss of a task in each epoch.
pub fn losses_by_epoch(run: &Run, task: &str) -> Vec<(usize, f64)> {
    let mut epochs: Vec<(usize, f64, usize)> = Vec::new();
    for step in &run.steps {
        let Some(loss) = step.of(task).and_then(|part| part.loss) else { continue };
        match epochs.last_mut().filter(|(epoch, ..)| *epoch == step.epoch) {
            Some((_, sum, count)) => (*sum, *count) = (*sum + loss, *count + 1),
            None => epochs.push((step.epoch, loss, 1)),
        }
    }
    epochs.into_iter().map(|(epoch, sum, count)| (epoch, sum / count as f64)).collect()
}

/// The weighted sum of the tasks' mean losses, in the epochs in which all of them have one.
pub fn totals_by_epoch(run: &Run) -> Vec<(usize, f64)> {
    let tasks = run.tasks();
    let curves: Vec<(f64, Vec<(usize, f64)>)> =
        tasks.iter().map(|task| (run.loss_weight(task), losses_by_epoch(run, task))).collect();
    let epochs = curves.first().map_or(&[][..], |(_, curve)| curve);
    let total = |epoch: usize| {
        let of = |(weight, curve): &(f64, Vec<(usize, f64)>)| {
            curve.iter().find(|(other, _)| *other == epoch).map(|(_, loss)| weight * loss)
        };
        curves.iter().map(of).sum::<Option<f64>>()
    };
    epochs.iter().filter_map(|&(epoch, _)| Some((epoch, total(epoch)?))).collect()
}

/// Charts and the table of losses.
pub fn loss_charts(run: &Run) -> Vec<Chart> {
    let tasks = run.tasks();
    let mut charts = vec![Chart {
        title: "Total loss by step".into(),
        x: "step".into(),
        y: "loss (nats)".into(),
        plot: Plot::Lines(vec![total_line(run, "total")]),
        note: "The weighted sum of the tasks' smoothed losses.".into(),
    }];
    charts.extend(tasks.iter().map(|task| {
        let training = line("training", &losses(run, task)).timed(clock(run));
        let validation = validation_losses(run, task);
        let mut note =
            "Training: the mean over a twentieth of the steps around each; single steps behind it.".to_owned();
        let mut lines = vec![training];
        if !validation.is_empty() {
            note += " Validation: of the whole validation data, without dropout.";
            lines.push(Series::new("validation", validation).timed(clock(run)));
        }
        let (title, x, y) = (format!("Loss of {task} by step"), "step".into(), "loss (nats)".into());
        Chart { title, x, y, plot: Plot::Lines(lines), note }
    }));
    let mut series: Vec<Series> = vec![epochs_line("total", &totals_by_epoch(run))];
    series.extend(tasks.iter().map(|task| epochs_line(task, &losses_by_epoch(run, task))));
    if series.iter().any(|series| series.points.len() > 1) {
        charts.push(Chart {
            title: "Losses by epoch".into(),
            x: "epoch".into(),
            y: "mean loss (nats)".into(),
            plot: Plot::Lines(series),
            note: "The mean over the steps of each epoch, while training (with dropout).".into(),
        });
    }
    charts
}

/// A line over whole epochs.
pub fn epochs_line(name: &str, points: &[(usize, f64)]) -> Series {
    Series::new(name, points.iter().map(|&(epoch, value)| (epoch as f64, value)).collect())
}

/// By how much the losses fell, from the first epoch to the last.
pub fn loss_reduction(run: &Run) -> Option<Table> {
    let mut rows: Vec<(String, Vec<(usize, f64)>)> =
        run.tasks().into_iter().map(|task| (task.clone(), losses_by_epoch(run, &task))).collect();
    rows.push(("total".into(), totals_by_epoch(run)));
    let epochs: Vec<usize> = rows.iter().map(|(_, losses)| losses.len()).max().map_or(Vec::new(), |most| {
        let longest = rows.iter().find(|(_, losses)| losses.len() == most);
        longest.map_or(Vec::new(), |(_, losses)| losses.iter().map(|(epoch, _)| *epoch).collect())
    });
    if epochs.is_empty() {
        return None;
    }
    let mut table = Table::new("Mean training loss of each epoch, and by how much it fell.", &["loss"]);
    epochs.iter().for_each(|epoch| table.column(format!("epoch {epoch}")));
    table.column("reduction, %");
    for (name, losses) in rows {
        let value = |epoch: &usize| losses.iter().find(|(other, _)| other == epoch).map_or(f64::NAN, |(_, loss)| *loss);
        let reduction = match losses.as_slice() {
            [(_, first), .., (_, last)] => decimal(100.0 * (first - last) / first),
            _ => "–".into(),
        };
        let cells = std::iter::once(name.clone()).chain(epochs.iter().map(|epoch| fine(value(epoch))));
        let cells = cells.chain([reduction]);
        if name == "total" { table.strong(cells) } else { table.row(cells) }
    }
    Some(table)
}

/// The learning rate.
pub fn learning_rate(run: &Run, name: &str) -> Series {
    // A point where it is, not a mean: its peak must show.
    let points = over_steps(run, |step| Some(step.lr));
    let every = points.len().div_ceil(POINTS).max(1);
    let last = points.len().saturating_sub(1);
    let peak = points.iter().enumerate().max_by(|a, b| a.1.1.total_cmp(&b.1.1)).map_or(0, |(at, _)| at);
    let kept = points.iter().enumerate().filter(|(at, _)| at.is_multiple_of(every) || *at == last || *at == peak);
    Series::new(name, kept.map(|(_, point)| *point).collect()).timed(clock(run))
}

/// The norm of the gradient of each task's steps, and of those of several tasks.
pub fn gradient_norms(run: &Run) -> Vec<Series> {
    let of = |name: &str, points: Vec<(f64, f64)>| {
        (!points.is_empty()).then(|| Series::new(name, thinned(&smoothed(&points), POINTS)).timed(clock(run)))
    };
    let norm_if = |wanted: &dyn Fn(&Step) -> bool| over_steps(run, |step| step.grad_norm.filter(|_| wanted(step)));
    let tasks = run.tasks();
    let of_tasks = tasks.iter().filter_map(|task| of(task, norm_if(&|step| is_of(step, task))));
    of_tasks.chain(of("all tasks of a step", norm_if(&is_joint))).collect()
}

/// The norm of the gradient of each group of layers, where the run recorded it: the mean of each part of the run. A table,
/// because a model has more layers than a chart has lines that are told apart.
pub fn group_norms(run: &Run) -> Option<Table> {
    let mut names: Vec<&String> = Vec::new();
    for (name, _) in run.steps.iter().flat_map(|step| &step.group_norms.0) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let parts: Vec<&[Step]> = run.steps.chunks(run.steps.len().div_ceil(PARTS).max(1)).collect();
    let mean = |name: &String, part: &[Step]| {
        let of = |step: &Step| step.group_norms.0.iter().find(|(group, _)| group == name).map(|(_, norm)| *norm);
        let norms: Vec<f64> = part.iter().filter_map(of).collect();
        norms.iter().sum::<f64>() / norms.len() as f64
    };
    let means: Vec<Vec<f64>> = names.iter().map(|name| parts.iter().map(|part| mean(name, part)).collect()).collect();
    let most = means.iter().flatten().copied().filter(|mean| mean.is_finite()).fold(0.0, f64::max);
    let mut table = Table::new(
        "Mean norm of the gradient by group of layers, before clipping, over the parts of the run.",
        &["group"],
    );
    for part in &parts {
        let (first, last) = (part.first()?.step, part.last()?.step);
        table.column(format!("steps {}–{}", count(first), count(last)));
    }
    for (name, means) in names.iter().zip(means) {
        let cell =
            |mean: f64| Cell { text: decimal(mean), look: Look::Heat(if most > 0.0 { mean / most } else { 0.0 }) };
        table.row(std::iter::once(Cell::from(name.as_str())).chain(means.into_iter().map(cell)));
    }
    (!names.is_empty()).then_some(table)
}

/// Of how many steps the gradient was clipped.
pub fn clipped(run: &Run) -> Option<(usize, usize, f64)> {
    let limit = run.recipe.as_ref()?.train.max_grad_norm;
    let norms: Vec<f64> = run.steps.iter().filter_map(|step| step.grad_norm).collect();
    if norms.is_empty() || limit == 0.0 {
        return None;
    }
    Some((norms.iter().filter(|&&norm| norm > limit).count(), norms.len(), limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thinned_curve_keeps_its_mean_and_its_ends_order() {
        let points: Vec<(f64, f64)> = (0..1000).map(|at| (f64::from(at), f64::from(at % 10))).collect();
        let thin = thinned(&points, 100);
        assert_eq!(thin.len(), 100);
        assert!(thin.iter().all(|point| (point.1 - 4.5).abs() < 1e-9), "each group of ten has the mean of all");
        assert!(thin.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(thinned(&points[..5], 100), &points[..5]);
        assert!(thinned(&[], 100).is_empty());
    }

    #[test]
    fn a_smoothed_curve_does_not_trail() {
        let falling: Vec<(f64, f64)> = (0..400).map(|at| (f64::from(at), 9.0 - f64::from(at) / 50.0)).collect();
        for (point, smooth) in falling.iter().zip(smoothed(&falling)) {
            assert!((point.1 - smooth.1).abs() < 1e-9, "a straight line stays where it is: {point:?} {smooth:?}");
        }
        // A step is smoothed to both sides of its place alike.
        let step: Vec<(f64, f64)> = (0..400).map(|at| (f64::from(at), f64::from(u8::from(at >= 200)))).collect();
        let smooth = smoothed(&step);
        assert!((smooth[199].1 + smooth[200].1 - 1.0).abs() < 1e-9 && smooth[195].1 > 0.0 && smooth[204].1 < 1.0);
        assert_eq!((smooth[150].1, smooth[250].1), (0.0, 1.0));
        assert!(smoothed(&[]).is_empty());
    }
}
