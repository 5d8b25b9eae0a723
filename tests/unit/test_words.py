"""Words of texts and questions: how texts in many scripts are split, stemmed and asked for."""

import hashlib

import pytest

from pipeline.stages.headings import add_headings
from pipeline.stages.words.languages import NO_STEMS, tell_language
from pipeline.stages.words.lexemes import VERSION, index, index_all
from pipeline.stages.words.question import parse
from pipeline.stages.words.split import LONGEST_WORD, Kind, fold_accents, split
from pipeline.types import PageText, TextChunk

LANGUAGES = {
    "english": "The keeper of the lock opens the gate at seven, and it is closed again when the last boat has gone by.",
    "german": "Die Kündigungsfrist für Mieter beträgt drei Monate, und sie endet immer mit dem letzten Tag eines Monats. "
    "Der Vermieter muss länger warten, wenn der Mieter seit mehr als fünf Jahren in der Wohnung lebt.",
    "russian": "Хранитель шлюза открывает ворота в семь часов утра, и они закрываются снова, когда последняя лодка уже "
    "прошла по реке и ушла в море, но не раньше чем наступит ночь.",
    "turkish": "Kapı her sabah yedide açılır ve son tekne geçtikten sonra yeniden kapanır, ama bu saat kış için daha erken "
    "ve yaz için daha geç olabilir, çünkü hava da önemli.",
    "greek": "Ο φύλακας ανοίγει την πύλη στις επτά το πρωί και την κλείνει ξανά όταν περάσει το τελευταίο πλοίο από το "
    "κανάλι προς τη θάλασσα.",
    "arabic": "يفتح الحارس البوابة في الساعة السابعة صباحا ثم يغلقها مرة أخرى بعد مرور آخر قارب من القناة إلى البحر في "
    "المساء قبل حلول الليل",
    "hindi": "द्वारपाल सुबह सात बजे द्वार खोलता है और अंतिम नाव के जाने के बाद उसे फिर बंद कर देता है ताकि रात में कोई नाव वहाँ से न "
    "निकल सके",
}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The Lock's gate", "the lock s gate"),
        ("RE-2026-00815", "re-2026-00815 re 2026 00815 815"),
        ("and/or", "and/or and or"),
        ("john.doe@example.com", "john.doe@example.com john doe example com"),
        ("https://example.com/a/long_path", "https example.com/a/long_path example com a long path"),
        (r"C:\Reports\q2.pdf", "c reports q2.pdf q2 pdf"),
        ("getUserName", "getusername get user name"),
        ("HTTPServer", "httpserver http server"),
        ("FY2018", "fy2018 fy 2018"),
        ("1,234.56", "1,234.56 1 234 56"),
        ("yes,no", "yes no"),
        ("revenue¹ of 10²", "revenue of 10"),
        ("ＲＥ－２０２６", "re-2026 re 2026"),
        ("cafe\u0301", "café"),
        ("Straße", "strasse"),
        ("机器学习", "机器 器学 学习 习"),
        ("電車でGo", "電車 車で で go"),
        ("年", "年"),
        ("대한민국", "대한민국 대한 한민 민국 국"),
        ("서울", "서울 울"),
        ("ดีมาก", "ดีม มา าก ก"),
        ("ລາວ", "ລາ າວ ວ"),
        ("ខ្មែរ", "ខ្មែរ រ"),
        ("हिन्दी में", "हिन्दी में"),
        ("שָׁלוֹם", "שלום"),
        ("مُحَمَّد", "محمد"),
        ("می\u200cخواهم", "میخواهم"),
        ("Nguyễn Trãi", "nguyễn trãi"),
        ("x" * 300, "x" * LONGEST_WORD),
        ("'x' & | !y:* <-> \\ \0", "x y"),
    ],
)
def test_words_of_a_text(text: str, words: str) -> None:
    assert " ".join(word.text for word in split(text)) == words


def test_parts_have_places_of_their_own_and_wholes_that_of_their_first_part() -> None:
    assert [(word.text, word.place) for word in split("see a-b c")] == [
        ("see", 1),
        ("a-b", 2),
        ("a", 2),
        ("b", 3),
        ("c", 4),
    ]


@pytest.mark.parametrize(
    ("word", "folded"),
    [
        ("café", "cafe"), ("kündigung", "kundigung"), ("nguyễn", "nguyen"), ("ёлка", "елка"), ("мой", "мой"),
        ("προσοχή", "προσοχη"), ("łódź", "lodz"), ("đồng", "dong"), ("ısı", "isi"), ("i̇stanbul", "istanbul"), ("हिन्दी", "हिन्दी"), ("が", "が"),
    ],
)  # fmt: skip
def test_accents_are_folded_where_they_are_no_letters(word: str, folded: str) -> None:
    assert fold_accents(word) == folded


@pytest.mark.parametrize(
    ("text", "language", "lexemes"),
    [
        ("The gates of the gate", "english", "'gate':2,5"),
        ("Die Häuser", "german", "'haus':2"),
        ("Die Häuser", NO_STEMS, "'die':1 'häuser':2 'hauser':2"),
        ("Cafés", "french", "'caf':1"),
        ("a b-c 'x'", NO_STEMS, "'a':1 'b-c':2 'b':2 'c':3 'x':4"),
        ("学习", "english", "'学习':1 '习':2"),
        ("", "english", ""),
    ],
)
def test_lexemes_of_a_text(text: str, language: str, lexemes: str) -> None:
    assert index(text, language) == lexemes


def test_places_end_where_those_of_postgresql_end() -> None:
    places = index("lock gate " * 20_000, NO_STEMS).split(" ")
    assert [len(one.split(",")) for one in places] == [255, 255]
    assert index("x " * 16_384 + "end", NO_STEMS).endswith("'end':16383")


@pytest.mark.parametrize("language", LANGUAGES)
def test_language_of_a_document(language: str) -> None:
    assert tell_language([split(LANGUAGES[language])], "english") == language
    assert tell_language([split(LANGUAGES[language])], NO_STEMS) == NO_STEMS
    assert index_all([LANGUAGES[language]], "french").language == language


@pytest.mark.parametrize(
    ("text", "default", "language"),
    [
        ("Котлы проверяют", "english", "russian"),
        ("Котлы проверяют", "serbian", "serbian"),
        ("पुस्तकालय", "english", "hindi"),
        ("κήπος pump valve", "english", "english"),
    ],
)
def test_script_tells_the_language_of_short_texts(text: str, default: str, language: str) -> None:
    assert tell_language([split(text)], default) == language


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Die Häuser",
        "Aydoğan ve Yıldırım Kapısı " + "cat " * 40,
        "1 2 3 " * 50,
        "机器学习很重要" * 20,
        "lorem ipsum " * 30,
        "mint pump, steel " * 10,
        "c d y l m n " * 20,
    ],
)
def test_default_language_of_texts_that_tell_none(text: str) -> None:
    assert tell_language([split(text)], "swedish") == "swedish"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Perşembe pazarı stadyumun arkasına taşındı. Satıcılar kira ödüyor.", "turkish"),
        ("A könyvtár időpontja: hétfőtől keddig, zárás este tűzgyakorlattal.", "hungarian"),
        (
            "Biblioteka šiandien nedirbs, skaitytojų kortelės bus galiojančios rytoj, nuo devintos iki šeštos, įėjimas.",
            "lithuanian",
        ),
        ("Locuitorii așteaptă răspunsul primăriei; stația și piața sunt închise, iar prețul crește.", "romanian"),
    ],
)
def test_own_letters_tell_the_language_of_short_texts(text: str, language: str) -> None:
    assert tell_language([split(text)], "english") == language


def ask(text: str, language: str = "english") -> list[str]:
    """Return the words of a question, with the forms that are asked for in a language."""
    forms: dict[int, list[str]] = {}
    for form in parse(text).words:
        if language in form.languages.split():
            forms.setdefault(form.number, []).append(form.query)
    return [" | ".join(queries) for queries in forms.values()]


@pytest.mark.parametrize(
    ("question", "language", "asked"),
    [
        ("Which gates are open?", "english", ["'gate'", "'open'"]),
        ("Which gates are open?", "german", ["'gat'", "'open'"]),
        ("Which gates?", "german", ["'which'", "'gat'"]),
        ("Cuántas puertas de la ciudad", "english", ["'cuánta' | 'cuanta'", "'puerta'", "'ciudad'"]),
        ("de la", "english", ["'de'", "'la'"]),
        ("εις βροχη", "greek", ["'βροχ'"]),  # nothing of the first word is left without its ending
        ("Πόσα βιβλία έχει η βιβλιοθήκη;", "greek", ["'βιβλ'", "'βιβλιοθηκ'"]),
        ("متى تفتح المكتبة؟", "arabic", ["'تفتح'", "'مكتب'"]),
        ("पुस्तकालय कब खुलता है?", "hindi", ["'पुस्तकालय'", "'खुल'"]),
        ("gate Gate gates", "english", ["'gate'", "'gate'"]),
        ("café", "english", ["'café' | 'cafe'"]),
        ("invoice 00815", "english", ["'invoic'", "'00815'"]),
        ("getUserName", "english", ["'getusernam'"]),
        ("车", "english", ["'车':*"]),
        ("窓", "english", ["'窓':*"]),
        ("ま", "english", ["'ま':*"]),
        ("역", "english", ["'역':*"]),
        ("火车", "english", ["'火车'"]),
        ("the", "english", []),
    ],
)
def test_words_of_a_question(question: str, language: str, asked: list[str]) -> None:
    assert ask(question, language) == asked


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        ("FY2018", "fy2018 fy 2018"),
        ("FY18 net", "fy18 fy 18 net 2018"),
        ("fy '18", "fy 18 2018"),
        ("FY2018 and FY18", "fy2018 fy 2018 and fy18 18"),
        ("CY\u201919", "cy 19 2019"),
        ("Q2'19 or H1’20", "q2 19 or h1 20 2019 2020"),
        ("Q2 FY2019", "q2 fy2019 fy 2019"),
        ("fiscal 2018", "fiscal 2018"),
        ("Q2 19 pumps", "q2 19 pumps"),
        ("FY188, 1FY18, the 18 Q2'190", "fy188 fy 188 1fy18 18 the q2 190"),
        ("pumps -FY18", "pumps"),
    ],
)
def test_years_of_a_question(question: str, asked: str) -> None:
    assert " ".join(query.strip("'") for query in ask(question, NO_STEMS)) == asked


@pytest.mark.parametrize(
    ("question", "words", "conditions"),
    [
        ('"Annual reports" of 2018', ["'annual'", "'report'", "'2018'"], [("('annual') <1> ('report')", False)]),
        ("“board of directors”", ["'board'", "'director'"], [("('board') <2> ('director')", False)]),
        ("gates -locked", ["'gate'"], [("('lock')", True)]),
        ('gates -"open lock"', ["'gate'"], [("('open') <1> ('lock')", True)]),
        ("gates -a/b", ["'gate'"], [("('b')", True)]),
        ('"火车站"', ["'火车'", "'车站'"], [("('火车') <1> ('车站')", False)]),
        ('"café"', ["'café' | 'cafe'"], [("('café' | 'cafe')", False)]),
        ("-5 degrees, long-term - or so", ["'5'", "'degre'", "'long-term'", "'long'", "'term'"], []),
        ("-locked", ["'lock'"], []),
        ('a 5" pipe, 6" wide', ["'5'", "'pipe'", "'6'", "'wide'"], []),
        ('"the" gate', ["'gate'"], []),
    ],
)
def test_conditions_of_a_question(question: str, words: list[str], conditions: list[tuple[str, bool]]) -> None:
    assert ask(question) == words
    assert [
        (form.query, condition.is_excluded)
        for condition in parse(question).conditions
        for form in condition.forms
        if "english" in form.languages.split()
    ] == conditions


def test_excluded_words_name_no_title() -> None:
    assert parse("boats -street").text == "boats "


def test_only_texts_have_details() -> None:
    assert {word.text for word in split("userName 007") if word.kind == Kind.DETAIL} == {"user", "name", "7"}


def test_changed_rules_have_a_new_version() -> None:
    """If this fails, raise VERSION, so that workers renew the words of stored texts. Then change both numbers here."""
    made = []
    for text in (*LANGUAGES.values(), "RE-2026-00815 userName FY2018 Cafés 机器学习 대한민국 ดีมาก"):
        indexed = index_all([text], "english")
        pages = [PageText(1, 0, [f"Annual Report-2\n{text}"]), PageText(2, 0, [text.title()])]
        headings = add_headings(pages, [TextChunk(2, 0, text)], indexed.language)[0].headings
        made.append(
            f"{indexed.language} {indexed.lexemes} {[(word, round(tells, 3)) for word, tells in headings.items()]}"
        )
    digest = hashlib.sha256("\n".join(made).encode()).hexdigest()
    assert (VERSION, digest[:16]) == (2, "c6da7966b8597bb6")
