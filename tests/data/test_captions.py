import pytest
import torch

from parvis.data.captions import TONES, Words, phrase, words_of
from parvis.errors import UsageError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("MAN ASTRONAUT", ("man", "astronaut")),
        ("Côte d\u2019Ivoire Flag", ("cote", "divoire", "flag")),
        ("U.S. Outlying Islands Flag", ("us", "outlying", "islands", "flag")),
        ("Antigua & Barbuda Flag", ("antigua", "barbuda", "flag")),
        ("KEYCAP: *", ("keycap", "asterisk")),
        ("clock at 8 o'clock", ("clock", "8", "oclock")),
        ("+1", ("plus", "one")),
        ("A picture of the cat", ("cat",)),
    ],
)
def test_words_of_names(text: str, words: tuple[str, ...]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    "form", ["medium light skin tone", "Medium-Light Skin", "medium-light-skinned", "MEDIUM LIGHT SKIN TONE"]
)
def test_every_form_of_a_tone_is_one_word(form: str) -> None:
    assert words_of(f"{form} woman") == ("medium-light-skin", "woman")


def test_phrase_reads_back_as_the_same_words() -> None:
    for tone in TONES:
        assert words_of(phrase((tone, "man", "cook"))) == (tone, "man", "cook")


def test_light_and_dark_alone_are_plain_words() -> None:
    assert words_of("light bulb in the dark") == ("light", "bulb", "dark")


@pytest.fixture
def words() -> Words:
    return Words.of([("red", "apple"), ("berry",), ("woman", "astronaut")], slots=4)


def test_vocabulary_is_sorted_and_holds_the_tones(words: Words) -> None:
    assert list(words.vocabulary) == sorted({"red", "apple", "berry", "woman", "astronaut", *TONES})
    assert words.size == len(words.vocabulary) + 1


def test_encode_pads_and_decodes(words: Words) -> None:
    found = words.encode("A RED apple!")
    assert len(found.ids) == 4 and found.ids[2:] == (words.pad, words.pad)
    assert words.decode(found.ids) == found.used == ("red", "apple")
    assert found.warning is None


def test_plurals_are_understood(words: Words) -> None:
    assert words.encode("red apples and berries").used == ("red", "apple", "berry")


def test_unknown_words_are_named_with_the_nearest(words: Words) -> None:
    found = words.encode("red aple")
    assert found.unknown == ("aple",) and "apple" in found.nearest[0]
    assert found.warning is not None and "aple" in found.warning and "apple" in found.warning


def test_words_that_find_no_slot_are_reported(words: Words) -> None:
    found = words.encode("dark skin woman astronaut red apple")
    assert found.used == ("dark-skin", "woman", "astronaut", "red") and found.cut == ("apple",)


@pytest.mark.parametrize("text", ["", "the of", "xyzzy plugh"])
def test_nothing_known_is_a_usage_error(words: Words, text: str) -> None:
    with pytest.raises(UsageError, match="none of the words"):
        words.encode(text)


def test_table_repeats_the_first_caption_and_drops_unknown_words(words: Words) -> None:
    ids, count = words.table([[("red", "apple")], [("berry", "kiwi"), ("woman",)]])
    assert ids.shape == (2, 2, 4) and count.tolist() == [1, 2]
    assert torch.equal(ids[0, 0], ids[0, 1])
    assert words.decode(ids[1, 0].tolist()) == ("berry",)


def test_a_learned_vocabulary_holds_the_commonest_words() -> None:
    found = Words.learned(["red apple red", "red pear", "a pear", "plum"], most=3)
    assert found.vocabulary == ("apple", "pear", "red") and found.slots == 3
    with pytest.raises(UsageError, match="none of the 2 captions holds a word"):
        Words.learned(["!", ""])


def test_slots_hold_all_but_the_longest_captions() -> None:
    captions = ["one two"] * 199 + ["one two three four five"]
    assert Words.learned(captions).slots == 2 and Words.learned(captions[-50:]).slots == 5
    assert Words.learned([" ".join(f"w{i}" for i in range(50))], longest=7).slots == 7
