"""Numbers of list items and headings in the forms that documents use: `iv`, `ab`, `3rd`, `二十一`, `ב`."""

MAX_REPEATS = 5
"""How often a letter is repeated behind the end of the alphabet: z, aa, bb. Later numbers are decimal."""
MAX_ROMAN = 3999
MAX_CHINESE = 9999
MAX_HEBREW = 499
ROMAN = (
    *((1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X")),
    *((9, "IX"), (5, "V"), (4, "IV"), (1, "I")),
)
HEBREW = (
    *((400, "ת"), (300, "ש"), (200, "ר"), (100, "ק"), (90, "צ"), (80, "פ"), (70, "ע"), (60, "ס"), (50, "נ"), (40, "מ")),
    *((30, "ל"), (20, "כ"), (16, "טז"), (15, "טו"), (10, "י"), (9, "ט"), (8, "ח"), (7, "ז"), (6, "ו"), (5, "ה")),
    *((4, "ד"), (3, "ג"), (2, "ב"), (1, "א")),
)
LATIN = "abcdefghijklmnopqrstuvwxyz"
RUSSIAN = "абвгдежзиклмнопрстуфхцчшщыэюя"
KATAKANA = "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワヲン"
IROHA = "イロハニホヘトチリヌルヲワカヨタレソツネナラムウヰノオクヤマケフコエテアサキユメミシヱヒモセス"
CIRCLED = "①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳"
ALPHABETS = {
    "lowerLetter": LATIN,
    "upperLetter": LATIN.upper(),
    "russianLower": RUSSIAN,
    "russianUpper": RUSSIAN.upper(),
    "lowerGreek": "αβγδεζηθικλμνξοπρστυφχψω",
    "arabicAlpha": "أبتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "arabicAbjad": "أبجدهوزحطيكلمنسعفصقرشتثخذضظغ",
    "hebrew2": "אבגדהוזחטיכלמנסעפצקרשת",
    "thaiLetters": "กขคงจฉชซฌญฎฏฐฑฒณดตถทธนบปผฝพฟภมยรลวศษสหฬอฮ",
    "hindiConsonants": "कखगघङचछजझञटठडढणतथदधनपफबभमयरलवशषसह",
    "aiueoFullWidth": KATAKANA,
    "aiueo": KATAKANA,
    "irohaFullWidth": IROHA,
    "iroha": IROHA,
    "ganada": "가나다라마바사아자차카타파하",
    "chosung": "ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊㅋㅌㅍㅎ",
    "ideographTraditional": "甲乙丙丁戊己庚辛壬癸",
    "ideographZodiac": "子丑寅卯辰巳午未申酉戌亥",
}
"""Letters that count, by the form of ECMA-376, 17.18.59, or of CSS."""
ENCLOSED = {
    "decimalEnclosedCircle": CIRCLED,
    "decimalEnclosedCircleChinese": CIRCLED,
    "ideographEnclosedCircle": "㊀㊁㊂㊃㊄㊅㊆㊇㊈㊉",
    "decimalEnclosedParen": "⑴⑵⑶⑷⑸⑹⑺⑻⑼⑽⑾⑿⒀⒁⒂⒃⒄⒅⒆⒇",
    "decimalEnclosedFullstop": "⒈⒉⒊⒋⒌⒍⒎⒏⒐⒑⒒⒓⒔⒕⒖⒗⒘⒙⒚⒛",
}
"""Characters for whole numbers. Numbers behind the last one are decimal."""
DIGITS = {
    "decimalFullWidth": "０１２３４５６７８９",
    "decimalFullWidth2": "０１２３４５６７８９",
    "ideographDigital": "〇一二三四五六七八九",
    "japaneseDigitalTenThousand": "〇一二三四五六七八九",
    "taiwaneseDigital": "○一二三四五六七八九",
    "koreanDigital": "영일이삼사오육칠팔구",
    "koreanDigital2": "零一二三四五六七八九",
    "thaiNumbers": "๐๑๒๓๔๕๖๗๘๙",
    "hindiNumbers": "०१२३४५६७८९",
    "arabicIndic": "٠١٢٣٤٥٦٧٨٩",
}
"""Digits of decimal numbers."""
ZEROS = {"decimalZero": 2, "001, 002, 003, ...": 3, "0001, 0002, 0003, ...": 4, "00001, 00002, 00003, ...": 5}
"""Digits of decimal numbers that begin with zeros."""
UNITS = ((1000, "千"), (100, "百"), (10, "十"))
LEGAL_UNITS = ((1000, "仟"), (100, "佰"), (10, "拾"))
KOREAN_UNITS = ((1000, "천"), (100, "백"), (10, "십"))
CHINESE_DIGITS = "零一二三四五六七八九"
COUNTED = {
    "chineseCounting": (CHINESE_DIGITS, UNITS, True),
    "chineseCountingThousand": (CHINESE_DIGITS, UNITS, True),
    "taiwaneseCounting": (CHINESE_DIGITS, UNITS, True),
    "taiwaneseCountingThousand": (CHINESE_DIGITS, UNITS, True),
    "chineseLegalSimplified": ("零壹贰叁肆伍陆柒捌玖", LEGAL_UNITS, True),
    "ideographLegalTraditional": ("零壹貳參肆伍陸柒捌玖", LEGAL_UNITS, True),
    "japaneseCounting": (CHINESE_DIGITS, UNITS, False),
    "japaneseLegal": ("零壱弐参四伍六七八九", (*((1000, "阡"), (100, "百")), (10, "拾")), False),
    "koreanCounting": ("영일이삼사오육칠팔구", KOREAN_UNITS, False),
}
"""Digits and units of numbers such as 二十一, and True if a gap is written as zero and one hundred as 一百."""
_WORDS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen
"""
ONES = tuple(_WORDS.split())
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
MAX_WORDS = 99
ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}


def format_number(number: int, form: str) -> str:
    """Write a number in one of the forms of ECMA-376, 17.18.59. Unknown forms are written as decimal numbers."""
    if form == "none":
        return ""
    if form in DIGITS and number >= 0:
        return str(number).translate(str.maketrans("0123456789", DIGITS[form]))
    if form in COUNTED and 0 <= number <= MAX_CHINESE:
        return _count(number, *COUNTED[form])
    if form in ALPHABETS and number > 0:
        repeats, index = divmod(number - 1, len(ALPHABETS[form]))
        return ALPHABETS[form][index] * (repeats + 1) if repeats < MAX_REPEATS else str(number)
    return _write(number, form) or str(number)


def _write(number: int, form: str) -> str:
    """Return an empty string if the form cannot write this number."""
    text = ""
    match form:
        case _ if form in ZEROS:
            text = f"{number:0{ZEROS[form]}}"
        case "lowerRoman" | "upperRoman" if 0 < number <= MAX_ROMAN:
            text = _add_up(number, ROMAN)
        case "hebrew1" if 0 < number <= MAX_HEBREW:
            text = _add_up(number, HEBREW)
        case "ordinal":
            text = f"{number}{_find_suffix(number)}"
        case "cardinalText" if 0 <= number <= MAX_WORDS:
            text = _spell(number).capitalize()
        case "ordinalText" if 0 <= number <= MAX_WORDS:
            text = _spell_ordinal(number).capitalize()
        case "numberInDash":
            text = f"- {number} -"
        case _ if 0 < number <= len(ENCLOSED.get(form, "")):
            text = ENCLOSED[form][number - 1]
    return text.lower() if form == "lowerRoman" else text


def _add_up(number: int, values: tuple[tuple[int, str], ...]) -> str:
    letters = ""
    for value, letter in values:
        letters += letter * (number // value)
        number %= value
    return letters


def _count(number: int, digits: str, units: tuple[tuple[int, str], ...], writes_gaps: bool) -> str:
    """Write a number with units. Ten to nineteen have no digit before the unit."""
    text, has_gap = "", False
    for value, unit in (*units, (1, "")):
        digit, number = divmod(number, value)
        if digit == 0:
            has_gap = has_gap or bool(text)
            continue
        text += digits[0] if has_gap and writes_gaps else ""
        has_gap = False
        is_bare = digit == 1 and unit and (not writes_gaps or (value == units[-1][0] and not text))
        text += ("" if is_bare else digits[digit]) + unit
    return text or digits[0]


def _find_suffix(number: int) -> str:
    if number % 100 in (11, 12, 13):
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")


def _spell(number: int) -> str:
    if number < len(ONES):
        return ONES[number]
    tens, ones = divmod(number, 10)
    return f"{TENS[tens]}-{ONES[ones]}" if ones else TENS[tens]


def _spell_ordinal(number: int) -> str:
    before, dash, last = _spell(number).rpartition("-")
    if last in ORDINALS:
        return f"{before}{dash}{ORDINALS[last]}"
    return f"{before}{dash}{last.removesuffix('y') + 'ie' if last.endswith('y') else last}th"
