"""Pages whose text layer is garbage count as pages without text. Good pages of any kind and language stay."""

import base64
import io
import random
from pathlib import Path

import pytest
from fpdf import FPDF

from pipeline.stages.extract import get_format
from pipeline.stages.extract.format import ExtractedPage, SourceFile
from pipeline.stages.extract.pdf.readability import is_readable
from pipeline.stages.extract.pdf.stamps import is_stamp
from pipeline.types import WarningCode
from tests.pdfs import write_line, write_pages

PROSE = (
    "The lock is closed to boats when the gauge at the footbridge reads over three metres. Grease the hinges every "
    "fortnight with tallow, and hoist the red flag on the keeper's house before the barges arrive."
)
ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def exchange(text: str, letters: str) -> str:
    return text.translate(str.maketrans(ALPHABET + ALPHABET.upper(), letters + letters.upper()))


def shuffle(seed: int) -> str:
    letters = list(ALPHABET)
    random.Random(seed).shuffle(letters)
    return "".join(letters)


GARBAGE = {
    "replacement characters": "\ufffd" * 60,
    "mostly replacement characters": "Page 1 " + "\ufffd\ufffd \ufffd" * 20,
    "private use": "".join(chr(0xE000 + ord(char)) for char in PROSE),
    "control characters": "".join(chr(ord(char) % 32) if char.isalpha() else char for char in PROSE),
    "three letters on": exchange(PROSE, ALPHABET[3:] + ALPHABET[:3]),
    "glyph numbers": "".join(chr(ord(char) - 29) if char != " " else "\x03" for char in PROSE),
    "glyph numbers with spaces": "".join(chr(ord(char) - 29) if char != " " else " " for char in PROSE),
    "Cyrillic as Latin-1": "Шлюз закрыт для лодок, когда уровень воды у моста выше трёх метров. Красный флаг поднят на доме смотрителя.".encode(
        "cp1251"
    ).decode("latin-1"),
    "letters of any script": " ".join("".join(chr(base + n % 20) for base in (0x3B1, 0x430, 0x61)) for n in range(30)),
    **{f"shuffled {seed}": exchange(PROSE, shuffle(seed)) for seed in range(8)},
}
GOOD = {
    "English": PROSE,
    "capitals": PROSE.upper(),
    "German": "Die Schleuse ist für Boote geschlossen, wenn der Pegel an der Fußgängerbrücke über drei Meter steigt.",
    "Polish": "Śluza jest zamknięta dla łodzi, gdy wodowskaz przy kładce wskazuje więcej niż trzy metry wody.",
    "Czech": "Zdymadlo je pro lodě uzavřeno, jakmile vodočet u lávky ukáže víc než tři metry; čtvrthodinu čekejte.",
    "Hungarian": "A zsilip zárva van a hajók előtt, amikor a gyaloghídnál lévő vízmérce három méternél többet mutat.",
    "Finnish": "Sulku on suljettu veneiltä, kun kävelysillan vedenkorkeusmittari näyttää yli kolmea metriä vettä.",
    "Turkish": "Yaya köprüsündeki seviye göstergesi üç metreyi aştığında havuz teknelere kapatılır, bayrak çekilir.",
    "Vietnamese": "Âu thuyền đóng cửa đối với tàu thuyền khi thước đo nước ở cầu đi bộ chỉ hơn ba mét, treo cờ đỏ.",
    "Welsh": "Mae'r loc ar gau i gychod pan fydd y mesurydd wrth y bont droed yn dangos mwy na thri metr o ddŵr.",
    "Russian": "Шлюз закрыт для лодок, когда водомерная рейка у пешеходного моста показывает более трёх метров.",
    "Greek": "Η δεξαμενή είναι κλειστή για σκάφη όταν ο μετρητής στη γέφυρα δείχνει πάνω από τρία μέτρα.",
    "Arabic": "تغلق البوابة أمام القوارب عندما يشير المقياس عند الجسر إلى أكثر من ثلاثة أمتار من الماء",
    "Hebrew": "המנעול סגור לסירות כאשר המד בגשר הולכי הרגל מראה יותר משלושה מטרים של מים",
    "Hindi": "जब पुल पर लगा मापक तीन मीटर से अधिक दिखाता है तब नावों के लिए द्वार बंद रहता है",
    "Thai": "ประตูน้ำปิดสำหรับเรือเมื่อมาตรวัดที่สะพานคนเดินอ่านค่าได้มากกว่าสามเมตร",
    "Japanese": "歩道橋の水位計が三メートルを超えると、PDFファイルの閘門は船に対して閉鎖されます。",
    "Chinese": "当人行桥的水位计超过三米时，船闸对船只关闭。请使用PDF文件和API接口。",
    "Korean": "보행자 다리의 수위계가 삼 미터를 넘으면 갑문은 배에 대해 닫힙니다.",
    "numbers": " ".join(str(number * 7919 % 100_000) for number in range(200)),
    "table": "Item 2024 2025\nRent 450 470\nStaff 900 950\nTotal 1,350 1,420\nEBITDA 3.2% 4.1%",
    "code": Path(__file__).read_text(encoding="utf-8"),
    "formulas": "∑ x² + ∫ f(x) dx = α β γ ∀ε>0 ∃δ: |x−y|<δ ⇒ |f(x)−f(y)|<ε",
    "check boxes": "☐ Yes ☒ No • ✓ →",
    "base 64": base64.b64encode(PROSE.encode() * 5).decode(),
    "genes": "gattacaggtccatgcatgcaaatttgggcccatatcgcg " * 10,
    "tickers": "MMM AAPL XOM CVX GOOG MSFT TSLA NFLX JPM WFC BAC XLK QQQ SPY DJIA",
    "part numbers": " ".join("".join(random.Random(n).choices(ALPHABET, k=5)) for n in range(60)),
    "a few odd words": "Kwrx zzvq fnord.",
    "nothing": "",
}


def read(data: bytes) -> list[ExtractedPage]:
    return list(get_format("application/pdf").readers[0](SourceFile(io.BytesIO(data))).pages)


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_recognised(kind: str) -> None:
    assert not is_readable(GARBAGE[kind])


@pytest.mark.parametrize("kind", GOOD)
def test_good_text_stays(kind: str) -> None:
    assert is_readable(GOOD[kind])


def test_unreadable_page_has_no_text_and_a_warning() -> None:
    scrambled = "".join(
        write_line(line, y=700 - 20 * n) for n, line in enumerate(exchange(PROSE, shuffle(1)).split(". "))
    )
    bad, good = read(write_pages([scrambled, write_line("The lock opens at six.")]))
    assert (bad.sections, [warning.code for warning in bad.warnings]) == ([""], [WarningCode.UNREADABLE_TEXT])
    assert (good.sections, good.warnings) == (["The lock opens at six."], [])


def test_letters_of_a_symbol_font_are_read() -> None:
    """Fonts with a symbol encoding have ASCII in a private-use area."""
    document = FPDF()
    document.add_page()
    document.set_font("Helvetica", size=12)
    document.cell(text="x")
    mapping = b"/CIDInit /ProcSet findresource begin 1 begincodespacerange <00> <FF> endcodespacerange\n"
    mapping += b"1 beginbfrange <20> <7E> <F020> endbfrange endcmap"
    font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 6 0 R >>"
    stream = b"<< /Length %d >>\nstream\n%b\nendstream" % (len(mapping), mapping)
    [page] = read(write_pages([write_line("Herons nest here.")], more={5: font, 6: stream}))
    assert (page.sections, page.warnings) == (["Herons nest here."], [])


STAMPS = [
    "Scanned with CamScanner",
    "Scanned by TapScanner",
    "CamScanner",
    "Digitized by Google",
    "scanned\nwith ACE Scanner",
]


@pytest.mark.parametrize("stamp", STAMPS)
def test_stamp_alone_on_every_page_is_no_text(stamp: str) -> None:
    assert is_stamp(stamp)
    pages = read(write_pages([write_line(" ".join(stamp.split()), y=20), "", write_line(" ".join(stamp.split()))]))
    assert [page.sections for page in pages] == [[""]] * 3


def test_stamp_beside_text_stays() -> None:
    texts = ["Scanned with CamScanner", "The lock opens at six.", "Scanned with CamScanner"]
    assert [page.sections for page in read(write_pages([write_line(text) for text in texts]))] == [[t] for t in texts]
    assert not is_stamp("Scanned with care, the letters of the lock keeper are kept in the town hall of Alder.")


OTHER_SCRIPTS = {
    "Russian": "Шлюз закрыт для лодок, когда водомерная рейка у пешеходного моста показывает более трёх метров. "
    "Каждые две недели смазывайте петли жиром и поднимайте красный флаг над домом смотрителя до прихода барж. "
    "Зимой ворота открыты только утром, потому что ночью вода замерзает и лёд ломает старые доски у берега.",
    "Greek": "Η δεξαμενή είναι κλειστή για τα σκάφη όταν ο μετρητής στη γέφυρα δείχνει πάνω από τρία μέτρα νερό. "
    "Κάθε δύο εβδομάδες αλείφετε τους μεντεσέδες με λίπος και υψώνετε την κόκκινη σημαία στο σπίτι του φύλακα. "
    "Τον χειμώνα οι πύλες ανοίγουν μόνο το πρωί, επειδή τη νύχτα ο πάγος σπάει τα παλιά ξύλα κοντά στην όχθη.",
    "Hebrew": "הסכר סגור לסירות כאשר המד ליד הגשר מראה יותר משלושה מטרים של מים. יש לשמן את הצירים פעם בשבועיים "
    "ולהניף את הדגל האדום מעל בית השומר לפני שהדוברות מגיעות. בחורף השערים נפתחים רק בבוקר, כי בלילה המים קופאים "
    "והקרח שובר את הקרשים הישנים ליד הגדה. אסור לעגון ליד הקיר התחתון אחרי השקיעה בלי רשות מיוחדת מן העירייה.",
    "Arabic": "تغلق البوابة أمام القوارب عندما يشير المقياس عند الجسر إلى أكثر من ثلاثة أمتار من الماء. يجب تشحيم "
    "المفصلات كل أسبوعين ورفع العلم الأحمر فوق بيت الحارس قبل وصول المراكب. في الشتاء تفتح البوابات في الصباح فقط "
    "لأن الماء يتجمد ليلا والجليد يكسر الألواح القديمة قرب الضفة. لا يسمح لأحد بالرسو عند الجدار السفلي بعد الغروب.",
}


@pytest.mark.parametrize("language", OTHER_SCRIPTS)
def test_exchanged_letters_of_other_scripts_are_recognised(language: str) -> None:
    text = OTHER_SCRIPTS[language].lower()
    letters = sorted(set(filter(str.isalpha, text)))
    shuffled = ["".join(random.Random(seed).sample(letters, len(letters))) for seed in range(20)]
    found = [not is_readable(text.translate(str.maketrans("".join(letters), other))) for other in shuffled]
    assert is_readable(text)
    assert sum(found) >= 10, "frequent letters may be exchanged for each other"
