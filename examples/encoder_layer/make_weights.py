# Trains two small encoders in PyTorch to fill the gaps of a sentence, and writes weights.safetensors: what ../encoder_layer
# reads. Of a layer of your own it takes the last six lines (or the package safetensors: save_file(model.state_dict(), path)).
#
#   python3 make_weights.py weights.safetensors
import json, random, struct, sys
import torch
from torch import nn

SUBJECTS = {"king": ("he", "was"), "queen": ("she", "was"), "cat": ("it", "was"), "boys": ("they", "were")}
WORDS = ["?", "today", "the", "old", "near", "says", "say", "that", "tired", "he", "she", "it", "they", "was", "were", *SUBJECTS]
LENGTH = 14


def sentence(rng):
    """Words with gaps, and what belongs there: a pronoun and a verb that suit the first of two nouns."""
    subject, other = rng.sample(list(SUBJECTS), 2)
    noun = lambda word: ["the"] + ["old"] * rng.randrange(2) + [word]
    says = "say" if subject == "boys" else "says"
    words = ["today"] * rng.randrange(2) + noun(subject) + ["near"] + noun(other) + ["?", "that", "?", "?", "tired"]
    return words, [says, *SUBJECTS[subject]]


class Encoder(nn.Module):
    def __init__(self, **kind):
        super().__init__()
        self.word = nn.Embedding(len(WORDS), 16)
        self.place = nn.Embedding(LENGTH, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, **kind)
        self.readout = nn.Linear(16, len(WORDS))

    def embedded(self, words):
        return self.word(torch.tensor([WORDS.index(w) for w in words])) + self.place.weight[: len(words)]


torch.manual_seed(1)
models = nn.ModuleDict({
    "norm_last": Encoder(activation="relu", norm_first=False),
    "norm_first": Encoder(activation="gelu", norm_first=True),
})
for model in models.values():
    rng, adam = random.Random(1), torch.optim.Adam(model.parameters(), 3e-3, weight_decay=1e-4)
    for step in range(1500):
        loss = 0
        for words, answers in (sentence(rng) for _ in range(16)):
            out = model.readout(model.layer(model.embedded(words)[None])[0])
            gaps = [i for i, w in enumerate(words) if w == "?"]
            loss = loss + nn.functional.cross_entropy(out[gaps], torch.tensor([WORDS.index(w) for w in answers])) / 16
        adam.zero_grad(), loss.backward(), adam.step()
    print("loss", loss.item())

words = "today the old queen near the boys ? that ? ? tired".split()
tensors = {name: value.float() for name, value in models.state_dict().items()}
with torch.no_grad():
    for name, model in models.double().eval().items():  # what comes out, of the same weights in double
        tensors[f"{name}.output"] = model.layer(model.embedded(words)[None])[0]
notes = {"vocabulary": " ".join(WORDS), "sentence": " ".join(words), "pytorch": torch.__version__.split("+")[0]}

types, header, data = {torch.float32: "F32", torch.float64: "F64"}, {"__metadata__": notes}, b""
for name, tensor in sorted(tensors.items(), key=lambda t: -t[1].element_size()):  # wider ones first: so all are aligned
    numbers = tensor.contiguous().numpy().tobytes()
    header[name] = {"dtype": types[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(numbers)]}
    data += numbers
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
open(sys.argv[1], "wb").write(struct.pack("<Q", len(text)) + text + data)
