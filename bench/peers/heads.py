"""The heads of train_pytorch.py: from hidden states [windows, tokens, hidden] to outputs, losses, and what a task scores.

A head has `loss(outputs, mask, windows)`, a mean as polyhead takes it, and `rows(outputs, windows)`: what each window says, for the
task's `scores`. Heads run in f32, as in polyhead, but for those of tokens, whose products autocast makes faster.
"""

import math

import torch
from torch import nn
from torch.nn.functional import cross_entropy, gelu

from treebank import best_tree


def in_f32():
    return torch.autocast("cpu", enabled=False)


def head_of(kind: str, settings: dict, task, hidden: int) -> nn.Module:
    return {"ner": Tokens, "tag": Tokens, "qa": Answers, "classify": FirstToken, "relation": Parts, "parse": Biaffine}[kind](
        settings, task, hidden
    )


class Tokens(nn.Module):
    """Dropout and a linear layer on each token. The loss is the mean over the words of the batch."""

    def __init__(self, settings: dict, task, hidden: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Dropout(settings["dropout"]), nn.Linear(hidden, task.outputs))

    def forward(self, hidden, windows):
        return self.layers(hidden).float()

    def loss(self, logits, mask, windows):
        targets = torch.full(mask.shape, -100)
        for row, window in enumerate(windows):
            targets[row, : len(window.target)] = torch.tensor(window.target)
        return cross_entropy(logits.flatten(0, 1), targets.flatten())

    def rows(self, logits, windows):
        return [values[: len(window.ids)] for values, window in zip(logits.tolist(), windows)]


class Answers(Tokens):
    """The same with a start and an end: the mean over windows of the losses of both, over a window's tokens."""

    def loss(self, logits, mask, windows):
        scores = logits.masked_fill(mask[..., None] == 0, torch.finfo(logits.dtype).min)
        targets = torch.tensor([window.target for window in windows])
        return (cross_entropy(scores[..., 0], targets[:, 0]) + cross_entropy(scores[..., 1], targets[:, 1])) / 2


class FirstToken(nn.Module):
    """Dropout and a linear layer on the first token."""

    def __init__(self, settings: dict, task, hidden: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Dropout(settings["dropout"]), nn.Linear(hidden, task.outputs))

    def forward(self, hidden, windows):
        with in_f32():
            return self.layers(hidden[:, 0].float())

    def loss(self, logits, mask, windows):
        return cross_entropy(logits, torch.tensor([window.target[0] for window in windows]))

    def rows(self, logits, windows):
        return logits.tolist()


class Parts(FirstToken):
    """R-BERT (Wu and He 2019): the first token and the means of both parts, each through a layer with tanh, and all into one."""

    def __init__(self, settings: dict, task, hidden: int):
        nn.Module.__init__(self)
        self.dropout = nn.Dropout(settings["dropout"])
        self.text, self.part = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)
        self.classifier = nn.Linear(3 * hidden, task.outputs)

    def forward(self, hidden, windows):
        means = [[hidden[row, start:end].float().mean(0) for start, end in window.spans] for row, window in enumerate(windows)]
        with in_f32():
            text = self.text(self.dropout(hidden[:, 0].float())).tanh()
            parts = self.part(self.dropout(torch.stack([torch.stack(of_one) for of_one in means]))).tanh()
            return self.classifier(self.dropout(torch.cat([text, parts[:, 0], parts[:, 1]], 1)))


class Biaffine(nn.Module):
    """The parser of Dozat and Manning (2017), without what a word says of itself as a dependent to arcs."""

    def __init__(self, settings: dict, task, hidden: int):
        super().__init__()
        self.root, arcs, relations = task.root, settings["arc_size"], settings["relation_size"]
        self.dropout = nn.Dropout(settings["dropout"])
        self.layers = nn.ModuleList(nn.Linear(hidden, size) for size in (arcs, arcs, relations, relations))
        self.arc, self.arc_head = nn.Parameter(torch.empty(arcs, arcs)), nn.Parameter(torch.zeros(arcs))
        nn.init.xavier_uniform_(self.arc)
        bound = 1 / math.sqrt(relations)
        self.relation = nn.Parameter(torch.empty(task.outputs, relations, relations).uniform_(-bound, bound))
        self.relation_head = nn.Parameter(torch.zeros(task.outputs, relations))
        self.relation_dependent = nn.Linear(relations, task.outputs)
        nn.init.zeros_(self.relation_dependent.bias)

    def forward(self, hidden, windows):
        """Scores of arcs, [windows, words, heads], and the vectors that relations are made of."""
        longest = max(len(window.spans) for window in windows)
        begins = torch.zeros(len(windows), longest, dtype=torch.long)
        for row, window in enumerate(windows):
            begins[row, : len(window.spans)] = torch.tensor(window.spans)
        words = hidden.gather(1, begins[..., None].expand(-1, -1, hidden.shape[2]))
        words = self.dropout(words)
        with in_f32():
            sides = [self.dropout(gelu(layer(words.float()))) for layer in self.layers]
            arcs = sides[0] @ self.arc @ sides[1].transpose(1, 2) + (sides[1] @ self.arc_head)[:, None]
        places = torch.arange(longest)
        arcs = arcs.masked_fill(places[:, None] == places[None, :], -math.inf)  # no word is its own head
        for row, window in enumerate(windows):
            arcs[row, :, len(window.spans) :] = -math.inf
        return arcs, sides[2], sides[3]

    def relations(self, dependents, heads):
        """[words, relations] of pairs of vectors, [words, size] each."""
        with in_f32():
            both = torch.einsum("wi,lij,wj->wl", dependents, self.relation, heads)
            return both + heads @ self.relation_head.T + self.relation_dependent(dependents)

    def loss(self, outputs, mask, windows):
        """The mean over words of the loss of the head and of the relation at the gold head."""
        arcs, dependents, heads = outputs
        rows, words, golds, labels = [], [], [], []
        for row, window in enumerate(windows):
            count = len(window.target) // 2
            rows += [row] * count
            words += range(1, count + 1)
            golds += window.target[:count]
            labels += window.target[count:]
        rows, words, golds = (torch.tensor(values) for values in (rows, words, golds))
        of_relations = self.relations(dependents[rows, words], heads[rows, golds])
        relations = cross_entropy(of_relations, torch.tensor(labels), reduction="sum", ignore_index=-100)
        return (cross_entropy(arcs[rows, words], golds, reduction="sum") + relations) / len(rows)

    def rows(self, outputs, windows):
        """The best tree, and the best relation at each head: `root` for the root, and for no other word."""
        arcs, dependents, heads = outputs
        found = []
        for row, window in enumerate(windows):
            count = len(window.spans)
            tree = best_tree(arcs[row, :count, :count].double().log_softmax(1).tolist())[1:]
            scores = self.relations(dependents[row, 1:count], heads[row, torch.tensor(tree)])
            scores[:, self.root] = torch.where(torch.tensor(tree) == 0, math.inf, -math.inf)
            found.append((tree, scores.argmax(1).tolist()))
        return found
