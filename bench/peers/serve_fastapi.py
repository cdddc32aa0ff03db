#!/usr/bin/env python3
"""The peer of bench/serve/compare.py: FastAPI and transformers serving the same weights with the same requests and answers.

    pip install torch transformers fastapi uvicorn httptools uvloop
    polyhead export MODEL --task ner --to DIR/ner ; polyhead export MODEL --task qa --to DIR/qa
    python bench/peers/serve_fastapi.py DIR/ner DIR/qa [--port 8081] [--threads N] [--dtype bfloat16]

Each folder is a task by its name, its kind is told by its config.json. POST /tasks/NAME takes Hugging Face's forms:

    {"inputs": "text", "parameters": {"aggregation_strategy": "first"}}
    {"inputs": {"question": "...", "context": "..."}, "parameters": {"max_answer_len": 15}}

Written as we would write it for ourselves: fast tokenizers; eval(), inference_mode and SDPA; as many intra-op threads as
cores, and one thread that runs the models, so that they never compete; what waits for it goes through in one batch, up to
--batch windows of like length, without waiting for more to come. Entities are put together by transformers' own
pipeline. transformers 5.3 dropped the one for questions, so answers are decoded here by its rules: overlapping windows,
start x end over the context's tokens, whole words. /info holds what the scripts of bench/serve ask for.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy
import torch
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from transformers import AutoModelForQuestionAnswering, AutoModelForTokenClassification, AutoTokenizer, pipeline


PADDED = 1.15  # a batch has at most so many tokens for each that is no padding


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


class EntityParameters(Form):
    aggregation_strategy: Literal["none", "simple", "first", "average", "max"] = "simple"
    stride: int = 32


class EntityRequest(Form):
    inputs: str
    parameters: EntityParameters = EntityParameters()


class Question(Form):
    question: str
    context: str


class AnswerParameters(Form):
    max_answer_len: int = 15
    max_seq_len: int = 384
    doc_stride: int = 128
    handle_impossible_answer: Literal[False] = False


class AnswerRequest(Form):
    inputs: Question
    parameters: AnswerParameters = AnswerParameters()


class Batcher:
    """Runs windows through a model: whatever waits when the thread is free, the shortest with their likes."""

    def __init__(self, model, tokenizer, batch: int, executor: ThreadPoolExecutor):
        self.model, self.tokenizer, self.batch, self.executor = model, tokenizer, batch, executor
        self.waiting: list[tuple[dict, asyncio.Future]] = []
        self.work = asyncio.Event()

    async def logits(self, windows: list[dict]) -> list:
        """Each window's outputs, without padding; a window is {"input_ids", "token_type_ids"}."""
        futures = [asyncio.get_running_loop().create_future() for _ in windows]
        self.waiting += zip(windows, futures)
        self.work.set()
        return await asyncio.gather(*futures)

    async def run(self):
        loop = asyncio.get_running_loop()
        while True:
            await self.work.wait()
            taken = self.take()
            if not self.waiting:
                self.work.clear()
            try:
                outputs = await loop.run_in_executor(self.executor, self.forward, [window for window, _ in taken])
            except Exception as error:
                outputs = [error] * len(taken)
            for (_, future), output in zip(taken, outputs):
                if isinstance(output, Exception):
                    future.set_exception(output)
                elif not future.cancelled():
                    future.set_result(output)

    def take(self) -> list[tuple[dict, asyncio.Future]]:
        """The one that has waited longest, so that nobody starves, and its likes: on a CPU a batch gains less than
        much padding costs."""
        first = len(self.waiting[0][0]["input_ids"])
        order = sorted(
            range(len(self.waiting)), key=lambda at: (abs(len(self.waiting[at][0]["input_ids"]) - first), at)
        )
        chosen, longest, total = [], 0, 0
        for at in order[: self.batch]:
            length = len(self.waiting[at][0]["input_ids"])
            if max(longest, length) * (len(chosen) + 1) > PADDED * (total + length):
                break
            chosen, longest, total = [*chosen, at], max(longest, length), total + length
        taken = [self.waiting[at] for at in chosen]
        self.waiting = [one for at, one in enumerate(self.waiting) if at not in set(chosen)]
        return taken

    @torch.inference_mode()
    def forward(self, windows: list[dict]) -> list:
        lengths = [len(window["input_ids"]) for window in windows]
        ids = torch.full((len(windows), max(lengths)), self.tokenizer.pad_token_id)
        types, mask = torch.zeros_like(ids), torch.zeros_like(ids)
        for row, (window, length) in enumerate(zip(windows, lengths)):
            ids[row, :length] = torch.tensor(window["input_ids"])
            types[row, :length] = torch.tensor(window["token_type_ids"])
            mask[row, :length] = 1
        output = self.model(input_ids=ids, token_type_ids=types, attention_mask=mask)
        found = output.logits if "logits" in output else torch.stack([output.start_logits, output.end_logits], dim=-1)
        return [one[:length] for one, length in zip(found.float().numpy(), lengths)]


def softmax(values):
    powers = numpy.exp(values - values.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


class Entities:
    pipeline_name, kind, fields, request, window = "token-classification", "ner", ["text"], EntityRequest, 128

    def __init__(self, folder: Path, dtype, batch: int, executor):
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForTokenClassification.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa").eval()
        self.pipe = pipeline("token-classification", model=model, tokenizer=self.tokenizer, device="cpu")
        self.batcher = Batcher(model, self.tokenizer, batch, executor)

    async def answer(self, request: EntityRequest) -> list[dict]:
        from transformers.pipelines.token_classification import AggregationStrategy

        text, strategy = request.inputs, AggregationStrategy(request.parameters.aggregation_strategy)
        windows = self.tokenizer(
            text,
            truncation=True,
            max_length=self.window,
            stride=request.parameters.stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
        )
        count = len(windows["input_ids"])
        outputs = await self.batcher.logits(
            [{k: windows[k][i] for k in ("input_ids", "token_type_ids")} for i in range(count)]
        )
        found = []
        for i, output in enumerate(outputs):
            parts = self.pipe.gather_pre_entities(
                text,
                numpy.array(windows["input_ids"][i]),
                softmax(output),
                windows["offset_mapping"][i],
                numpy.array(windows["special_tokens_mask"][i]),
                strategy,
                word_ids=windows.word_ids(i),
            )
            found += self.pipe.aggregate(parts, strategy)
        if count > 1:
            found = self.pipe.aggregate_overlapping_entities(found)
        label = "entity" if strategy == AggregationStrategy.NONE else "entity_group"
        return [
            one | {"score": float(one["score"]), "word": text[one["start"] : one["end"]]}
            for one in found
            if one[label] != "O"
        ]


class Answers:
    pipeline_name, kind, fields, request, window = (
        "question-answering",
        "qa",
        ["question", "context"],
        AnswerRequest,
        384,
    )

    def __init__(self, folder: Path, dtype, batch: int, executor):
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForQuestionAnswering.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa").eval()
        self.batcher = Batcher(model, self.tokenizer, batch, executor)

    async def answer(self, request: AnswerRequest) -> dict:
        asked, options = request.inputs, request.parameters
        windows = self.tokenizer(
            asked.question,
            asked.context,
            truncation="only_second",
            max_length=options.max_seq_len,
            stride=options.doc_stride,
            return_overflowing_tokens=True,
        )
        count = len(windows["input_ids"])
        outputs = await self.batcher.logits(
            [{k: windows[k][i] for k in ("input_ids", "token_type_ids")} for i in range(count)]
        )
        best = {"answer": "", "score": 0.0, "start": 0, "end": 0}
        for i, output in enumerate(outputs):
            context = numpy.array([sequence == 1 for sequence in windows.sequence_ids(i)])
            if not context.any():
                continue
            # As the pipeline had it: the probabilities are over the context and [CLS], which is no answer.
            candidates = context.copy()
            candidates[0] = True
            starts, ends = softmax(numpy.where(candidates[:, None], output, -10000.0).T)
            starts[0] = ends[0] = 0.0
            pairs = numpy.tril(numpy.triu(numpy.outer(starts, ends)), options.max_answer_len - 1)
            first, last = numpy.unravel_index(pairs.argmax(), pairs.shape)
            if pairs[first, last] > best["score"]:
                words = windows.word_ids(i)
                start = windows.word_to_chars(i, words[first], sequence_index=1).start
                end = windows.word_to_chars(i, words[last], sequence_index=1).end
                best = {
                    "answer": asked.context[start:end],
                    "score": float(pairs[first, last]),
                    "start": start,
                    "end": end,
                }
        return best


def application(args, address: str) -> FastAPI:
    # One thread for all models: two forward passes at once would share the cores and gain nothing.
    executor = ThreadPoolExecutor(1)
    tasks = {}
    for folder in args.models:
        kind = json.loads((folder / "config.json").read_text())["architectures"][0]
        maker = Entities if kind.endswith("ForTokenClassification") else Answers
        tasks[folder.name] = maker(folder, getattr(torch, args.dtype), args.batch, executor)

    @contextlib.asynccontextmanager
    async def lifespan(_):
        running = [asyncio.create_task(task.batcher.run()) for task in tasks.values()]
        print(f"listening on {address}", flush=True)
        yield
        for one in running:
            one.cancel()

    app = FastAPI(lifespan=lifespan)

    def route(name: str, task):
        async def answer(request):
            return JSONResponse(await task.answer(request))

        answer.__annotations__["request"] = task.request
        app.post(f"/tasks/{name}")(answer)

    for name, task in tasks.items():
        route(name, task)

    @app.get("/info")
    def info():
        told = [
            {
                "name": name,
                "kind": task.kind,
                "pipeline": task.pipeline_name,
                "fields": task.fields,
                "labels": [],
                "max_tokens": task.window,
            }
            for name, task in tasks.items()
        ]
        limits = {
            "body_bytes": 1 << 24,
            "texts": 1,
            "characters": 1 << 20,
            "tokens": 1 << 20,
            "queue_tokens": 1 << 20,
            "connections": 1 << 14,
            "request_seconds": 60,
        }
        return {"name": "FastAPI", "version": "", "tasks": told, "limits": limits}

    return app


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--batch", type=int, default=16, help="windows at most in one forward pass")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", args.port))
    app = application(args, f"http://127.0.0.1:{listener.getsockname()[1]}")
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listener])


if __name__ == "__main__":
    main()
