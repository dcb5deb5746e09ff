#!/usr/bin/env python3
"""Makes tests/fixtures/text/: what tiktoken, the trainer of tokenizers and sacrebleu say, for tests/text_test.cpp,
tests/corpus_test.cpp and tests/real_data_test.cpp.

    pip install tiktoken tokenizers sacrebleu && tools/make_text_fixtures.py DATA tests/fixtures/text

DATA is the folder that TENREC_DATA_DIR names: text/gpt2 and the texts that the 10,000 lines are taken from. Nothing of
DATA goes into the fixtures but ids and hashes.
"""
import gzip
import hashlib
import json
import pathlib
import sys

import sacrebleu
import tiktoken
from tiktoken.load import data_gym_to_mergeable_bpe_ranks
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

GPT2 = (r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s""")

HARD = """
Hello world|Hello, world!| leading space|trailing space |  two leading|two trailing  |a  b|a   b|a    b|   |
\t|\ttab|tab\ttab|a\t\tb|a \t b|a\t b|a \tb|\r|\r␊|a\r␊b|a␊␊b|a␊ b|a␊  b|a ␊ b|␊␊␊|line\r␊  next\r␊
it's|It'S|we're|we'Re|I'm|I'll|I'd|I've|don't|DON'T|'s|'t|'re|'ve|'m|'ll|'d|''s|' s|'x|'l|'r|'v|rock'n'roll|'sam|'ll'd've
O'Reilly's|x's y's|1's|2nd's|\u2019s it\u2019s|'\u017f|'\u0131s
0|12|123|1234567890|3.14|1,000,000|1e-5|0x1F|2024-11-28|12:30|50%|$5.00|\u00bd|\u00b2\u00b3|x\u00b2+y\u00b2|\u2167|\u0661\u0662\u0663|\u0967\u0968|\uff11\uff12|\u3007\u3021|\u2460\u2461|a1b2c3|abc123def|1st 2nd
!|!!|?!|...|....|\u2026|--|---|\u2014|\u2013|a-b|a--b|(a)|[b]|{c}|<d>|"q"|`code`|#tag|@user|a_b|__init__|/usr/bin|C:\\dir|a&b|a║b|║|~|^|*|**bold**|+1|=|==|!=|->|=>|::|;|;;
caf\u00e9|cafe\u0301|\u00fc\u00f6\u00e4\u00df|\u00c4rger|na\u00efve|\u00bfQu\u00e9?|\u00a1Hola!|\u0141\u00f3d\u017a|\u017elu\u0165ou\u010dk\u00fd|\u0130stanbul|\u01c6|\ufb01ne|\u1e9e
\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440|\u039a\u03b1\u03bb\u03b7\u03bc\u03ad\u03c1\u03b1|\u0627\u0644\u0633\u0644\u0627\u0645|\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd|\u0928\u092e\u0938\u094d\u0924\u0947|\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35|\u1019\u103c\u1014\u103a\u1019\u102c|\u10d2\u10d0\u10db\u10d0\u10e0\u10ef\u10dd\u10d1\u10d0
\u4f60\u597d\uff0c\u4e16\u754c|\u65e5\u672c\u8a9e|\u3053\u3093\u306b\u3061\u306f|\u30ab\u30bf\u30ab\u30ca|\uc548\ub155|\u1112\u1161\u11ab|\u4e2d\u3000\u6587|\u3000\u3000|\U00020000\U0002a6d6|\u9f98 \u9f98
\U0001f600|\U0001f600\U0001f601|a\U0001f600b| \U0001f44d|\U0001f44d\U0001f3fd|\U0001f468\u200d\U0001f469\u200d\U0001f467|\U0001f1e9\U0001f1ea|\u2764\ufe0f|1\ufe0f\u20e3|\u2603|\U0001f9ff 7
e\u0301\u0302\u0303|a\u0300 \u0300b|\u0300|\u0301\u0301 \u0301|x\u20d7|\u0e33|\u200b|\u200d|\ufeff|a\u200bb|\u00ad|soft\u00adhyphen|\u202eabc
\u00a0|a\u00a0b|\u00a0\u00a0|a\u2003b| \u2003 |\u1680|\u2028|\u2029|\u202f5|\u205f|\x85|a\x85b|\x0b|\x0c|\x1c|\x1f|\x00|\x01\x02|\x7f|\x80|\u180e
<║endoftext║>|a<║endoftext║>b|<║endoftext║ >|\u0120|\u0120hello|\u010a|\u00c4\u00a0|\ufffd|\uffff|\U0010ffff|\ue000|\U000e0041
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa|AbCdEfGhIj|iPhone|McDonald|HTTPServer|supercalifragilisticexpialidocious|antidisestablishmentarianism|pneumonoultramicroscopicsilicovolcanoconiosis
def f(x):␊    return x + 1␊|\tif (a) {␊\t\tb();␊\t}␊|SELECT * FROM t WHERE a='b';|{"key": [1, 2.5, null]}|<a href="x">y</a>|https://example.org/a?b=c&d=%20#e|user@example.org|\\frac{1}{2}|\\n|%d %s\\n
The quick brown fox jumps over the lazy dog.|the the the the|to be or not to be|  \u00e9t\u00e9  |a\u0085 b|\u4f60 \u597d 3 \u4e2a|tschu\u0308ss 1\u00bd|\u0152uvre|\ud7a3\u1100
""".strip("\n")


def hard_lines() -> list[str]:
    """The texts above: cut at | and at the ends of rows, where ␊ stands for a line feed and ║ for a bar."""
    lines = [part.replace("␊", "\n").replace("║", "|") for row in HARD.split("\n") for part in row.split("|")]
    return list(dict.fromkeys(lines))


MASK = (1 << 64) - 1


class Lcg:
    """Knuth's MMIX generator, written the same way in tests/real_data_test.cpp."""

    def __init__(self) -> None:
        self.state = 1

    def below(self, n: int) -> int:
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & MASK
        return (self.state >> 33) % n


POOLS = [(0x61, 26), (0x41, 26), (0x30, 10), (0x20, 1), (0x09, 5), (0x21, 15), (0xA0, 96), (0x370, 400), (0x4E00, 2000),
         (0xAC00, 1000), (0x1F300, 0x400), (0x300, 112), (0x2000, 112), (0x10000, 0x10000), (0, 0xD800), (0x27, 1)]


def random_line(draw: Lcg) -> str:
    out = []
    for _ in range(1 + draw.below(40)):
        first, count = POOLS[draw.below(len(POOLS))]
        for _ in range(1 + draw.below(4)):
            out.append(chr(first + draw.below(count)))
    return "".join(out)


def ten_thousand_lines(data: pathlib.Path) -> list[str]:
    """2,000 lines each of four texts (those that are UTF-8, with their carriage returns) and of random characters."""
    lines = []
    for name in ("dickens.txt", "tinyshakespeare.txt", "multi30k/train.de.gz", "multi30k/train.en.gz"):
        raw = (data / "text" / name).read_bytes()
        raw = gzip.decompress(raw) if name.endswith(".gz") else raw
        lines += [line.decode() for line in raw.split(b"\n")[:2000]]
    draw = Lcg()
    return lines + [random_line(draw) for _ in range(2000)]


def hash_of(ids: list[list[int]]) -> str:
    digest = hashlib.sha256()
    for line in ids:
        for i in [len(line), *line]:
            digest.update(i.to_bytes(4, "little"))
    return digest.hexdigest()


def encoding(name: str, ranks: dict[bytes, int]) -> tiktoken.Encoding:
    return tiktoken.Encoding(name, pat_str=GPT2, mergeable_ranks=ranks, special_tokens={})


def small_tokenizer(text: str, out: pathlib.Path) -> tiktoken.Encoding:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=420, min_frequency=2, special_tokens=["<pad>", "<|endoftext|>"],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator([text], trainer)
    tokenizer.save(str(out / "small_tokenizer.json"), pretty=False)
    written = {character: byte for byte, character in byte_characters().items()}
    ranks = {bytes(written[c] for c in token): id for token, id in tokenizer.get_vocab().items()
             if token not in ("<pad>", "<|endoftext|>")}
    return encoding("small", ranks)


def byte_characters() -> dict[int, str]:
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in plain]
    return {b: chr(b) for b in plain} | {b: chr(0x100 + i) for i, b in enumerate(rest)}


BLEU_LINES = [
    ("The cat sat on the mat.", "The cat is sitting on the mat."),
    ("It costs 1,000.50 dollars, about 3.5% more.", "It costs 1,000.50 dollars, which is 3.5 % more."),
    ("A dog - a big one - runs 10-12 miles.", "A dog, a big one, runs 10-12 miles."),
    ('He said: "No way!" &amp; left.', 'He said "No way!" & left.'),
    ("Ein Mann in einem blauen Hemd.", "Ein Mann mit blauem Hemd steht."),
    ("&quot;quoted&quot; &lt;tag&gt; <skipped>end", '"quoted" <tag> end'),
    ("u.s.a. and e.g. this...", "U.S.A. and e.g. this ..."),
    ("\u4f60\u597d \u4e16\u754c caf\u00e9\u00a0x", "\u4f60\u597d\u3000\u4e16\u754c caf\u00e9 x"),
    ("", "nothing was said"),
    ("a.b,c 1.b a,1 5,x .5 5. ,", "a.b,c 1.b a,1 5,x .5 5. ,"),
    ("trailing blanks  \t\x1c ", "trailing blanks"),
    ("[x]{y}~z^`_'q\\ /a+b=c;d?", "[x] {y} ~ z ^ ` _ ' q \\ / a + b = c ; d ?"),
]


def bleu_case(name: str, hypotheses: list[str], references: list[list[str]]) -> dict:
    score = sacrebleu.BLEU().corpus_score(hypotheses, [list(r) for r in zip(*references)])
    return {"name": name, "hypotheses": hypotheses, "references": references, "score": score.score,
            "precisions": score.precisions, "bp": score.bp, "lengths": [score.sys_len, score.ref_len]}


def bleu_fixture() -> dict:
    hypotheses, references = [h for h, _ in BLEU_LINES], [[r] for _, r in BLEU_LINES]
    tokenizer = sacrebleu.BLEU().tokenizer
    lines = hypotheses + [r for _, r in BLEU_LINES]
    cases = [
        bleu_case("all", hypotheses, references),
        bleu_case("two references", hypotheses, [[r, h + " or so"] for h, r in BLEU_LINES]),
        bleu_case("no 4-gram matches", ["a b c x d e f"], [["a b c y d e f"]]),
        bleu_case("only words match", ["a b c d e"], [["e d c b a"]]),
        bleu_case("nothing matches", ["a b c d"], [["e f g h"]]),
        bleu_case("too short for a 4-gram", ["a b"], [["a b"]]),
        bleu_case("short against long", ["the cat sat on"], [["the cat sat on the mat and slept all day"]]),
        bleu_case("long against short", ["the cat sat on the mat and slept"], [["the cat sat on"]]),
        bleu_case("equal", ["the cat sat on the mat ."], [["the cat sat on the mat ."]]),
        bleu_case("no words", [""], [["a b c d"]]),
        bleu_case("repeated", ["the the the the the the"], [["the cat the dog the"]]),
        bleu_case("nearest length", ["a b c d e"], [["a b c", "a b c d e f g"]]),
    ]
    return {"cases": cases, "tokenized": [{"line": x, "words": tokenizer(x.rstrip()).split()} for x in lines]}


def write(path: pathlib.Path, value) -> None:
    rows = [json.dumps(v, ensure_ascii=True) for v in value]
    path.write_text("[\n" + ",\n".join(rows) + "\n]\n")


def main() -> None:
    data, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    files = data / "text" / "gpt2"
    ranks = data_gym_to_mergeable_bpe_ranks(str(files / "vocab.bpe"), str(files / "encoder.json"))
    gpt2 = encoding("gpt2", ranks)
    lines = hard_lines()
    small = small_tokenizer("\n".join(lines), out)
    write(out / "lines.json", [{"text": x, "gpt2": gpt2.encode_ordinary(x), "small": small.encode_ordinary(x)}
                               for x in lines])
    many = [gpt2.encode_ordinary(x) for x in ten_thousand_lines(data)]
    parts = [{"tokens": sum(map(len, many[i:i + 1000])), "sha256": hash_of(many[i:i + 1000])}
             for i in range(0, len(many), 1000)]
    write(out / "gpt2_10000.json", parts)
    (out / "bleu.json").write_text(json.dumps(bleu_fixture(), indent=1) + "\n")
    print(len(lines), "hard lines,", len(many), "lines of text,", sum(map(len, many)), "tokens")


if __name__ == "__main__":
    main()
