"""Arrays of NumPy, in and out."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import QUESTIONS, TEXTS, tensors

import polyhead

np = pytest.importorskip("numpy")


def softmax(logits: Any) -> Any:
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True), dtype=np.float64)
    return raised / raised.sum(axis=-1, keepdims=True)


def test_logits_are_those_that_answers_are_made_of(model: polyhead.Model) -> None:
    short = [TEXTS[0], TEXTS[3]]
    logits = model.logits("sentiment", short)
    assert [(one.dtype, one.shape) for one in logits] == [(np.float32, (1, 2))] * 2
    assert all(one.flags.writeable and one.flags.c_contiguous for one in logits)
    probabilities = model.probabilities("sentiment", short)
    assert (probabilities.dtype, probabilities.shape) == (np.float32, (2, 2))
    np.testing.assert_allclose(softmax(np.concatenate(logits)), probabilities, rtol=1e-5)
    labels = model.tasks["sentiment"].labels
    for row, answer in zip(probabilities, model.predict("sentiment", short)):
        assert {label["label"]: np.float32(label["score"]) for label in answer["labels"]} == dict(zip(labels, row))
    (of_tokens,) = model.logits("ner", short[:1])
    assert of_tokens.shape[1] == len(model.tasks["ner"].labels) and of_tokens.shape[0] > len(short[0].split())
    (of_answers,) = model.logits("qa", QUESTIONS[:1])
    assert of_answers.shape[1] == 2
    with pytest.raises(polyhead.UsageError, match="spans"):
        model.probabilities("ner", short)


def test_embeddings_are_the_mean_of_the_hidden_states(model: polyhead.Model, run: polyhead.Run) -> None:
    """The head of entities is a linear layer: the mean of its logits is that layer on the mean of the hidden states."""
    raw, places = tensors(run.model)
    (at, shape), (of_bias, (labels,)) = places["heads.ner.weight"], places["heads.ner.bias"]
    weight, bias = np.frombuffer(raw, "<f4", labels * shape[1], at).reshape(shape), np.frombuffer(raw, "<f4", labels, of_bias)
    texts = ["Ada Lovelace worked with Charles Babbage in London .", "She left ."]
    embedded = model.embed(texts)
    assert (embedded.dtype, embedded.shape) == (np.float32, (2, weight.shape[1]))
    logits = np.stack([one.mean(axis=0, dtype=np.float64) for one in model.logits("ner", texts)])
    np.testing.assert_allclose(embedded @ weight.T + bias, logits, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(model.embed(texts[1:])[0], embedded[1], rtol=1e-5, atol=1e-6)
    lengths = np.linalg.norm(model.embed([*texts, ""], normalize=True), axis=1)
    np.testing.assert_allclose(lengths, 1.0, rtol=1e-6)
    assert model.embed([]).shape == (0, weight.shape[1])


def test_a_long_text_is_embedded_in_parts(model: polyhead.Model) -> None:
    whole = model.embed([TEXTS[4]])
    parts = model.embed([TEXTS[4]], max_length=16)
    assert whole.shape == parts.shape and np.isfinite(parts).all() and not np.allclose(whole, parts)
    with pytest.raises(polyhead.UsageError, match="max_length"):
        model.embed(["a"], max_length=2)


def test_texts_may_be_an_array(model: polyhead.Model) -> None:
    expected = model.predict("ner", TEXTS)
    assert model.predict("ner", np.array(TEXTS)) == model.predict("ner", np.array(TEXTS, dtype=object)) == expected
    assert (model.embed(np.array(TEXTS[:2])) == model.embed(TEXTS[:2])).all()
    assert model.predict("ner", [{"id": np.int64(3), "text": "Ada"}])[0]["id"] == 3


def test_texts_may_be_a_column_of_pandas(model: polyhead.Model) -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"question": [q for q, _ in QUESTIONS], "context": [c for _, c in QUESTIONS]})
    assert model.predict("sentiment", table["context"]) == model.predict("sentiment", list(table["context"]))
    rows = table.itertuples(index=False)
    assert model.predict("qa", rows) == model.predict("qa", table.to_dict("records")) == model.predict("qa", QUESTIONS)
    entities = pandas.DataFrame(model.ner(TEXTS[0])["entities"], columns=["type", "text", "start", "end", "score"])
    assert list(entities["text"]) == [entity["text"] for entity in model.ner(TEXTS[0])["entities"]]
