"""Texts in many languages, written for these tests, and the legacy character sets in which such texts still arrive."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Language:
    """A text of several sentences, and its legacy character sets, by labels of the web or, for DOS, by Python's names."""

    text: str
    charsets: tuple[str, ...]


WESTERN = ("windows-1252", "iso-8859-15", "macintosh", "cp850")
CENTRAL = ("windows-1250", "iso-8859-2", "cp852")
CYRILLIC = ("windows-1251", "koi8-u", "iso-8859-5", "ibm866")

LANGUAGES = {
    "English": Language(
        "The lease is for twelve months and costs £450 a month. The tenant’s deposit is £900 — it is returned within "
        "ten days. A café on the ground floor opens at 7 o’clock. “No bicycles in the hall,” says the sign. The naïve "
        "reader may skip § 4. The temperature must stay below 25 °C. Repairs under €50 are paid by the tenant.",
        ("windows-1252", "macintosh"),
    ),
    "German": Language(
        "Die Wohnung wird für zwölf Monate vermietet. Die Miete beträgt 450 Euro im Monat und ist bis zum dritten "
        "Werktag zu überweisen. Größere Schäden müssen sofort gemeldet werden. Die Schlüssel übergibt der Hausmeister. "
        "In der Straße ist das Parken verboten. Über Änderungen entscheidet die Eigentümerversammlung im März. "
        "Das Dämmmaß der Fenster beträgt 35 dB. Außerdem müssen die Flure frei bleiben.",
        WESTERN,
    ),
    "French": Language(
        "Le bail est conclu pour une durée d'un an. Le loyer mensuel s'élève à quatre cents francs et doit être payé "
        "avant le troisième jour. Les réparations nécessaires sont à la charge du propriétaire. L'été, la piscine "
        "ouvre à huit heures. Où faut-il déposer les clés ? Après la fête, le garçon a fermé la fenêtre. "
        "Les élèves déjeunent à la cantine dès midi. Ça n'a rien coûté.",
        WESTERN,
    ),
    "Spanish": Language(
        "El contrato tiene una duración de doce meses. El alquiler mensual es de cuatrocientos euros y se paga antes "
        "del día tres. ¿Dónde están las llaves? El dueño repara los daños más grandes. El niño cerró la ventana "
        "después de la reunión. Además, la calefacción no funcionó en febrero. Mañana vendrá el técnico a las nueve.",
        WESTERN,
    ),
    "Portuguese": Language(
        "O contrato tem a duração de doze meses. A renda mensal é de quatrocentos euros e não inclui água. As "
        "reparações são da responsabilidade do proprietário. Não é permitido estacionar à porta. A reunião começou às "
        "oito da manhã. Também é necessário fechar o portão. A informação está na recepção do edifício.",
        WESTERN,
    ),
    "Swedish": Language(
        "Hyresavtalet gäller i tolv månader. Hyran är fyra tusen kronor i månaden och betalas före den tredje. Större "
        "skador måste anmälas genast. Nycklarna hämtas på kontoret vid ån. På gården får man inte ställa cyklar. "
        "Värmen fungerade inte förra året. Alla är välkomna på mötet i år.",
        WESTERN,
    ),
    "Polish": Language(
        "Umowa najmu zostaje zawarta na dwanaście miesięcy. Czynsz wynosi czterysta złotych i jest płatny do trzeciego "
        "dnia miesiąca. Większe szkody należy zgłosić natychmiast. Klucze można odebrać w biurze przy głównej ulicy. "
        "Zażółć gęślą jaźń. W ciągu roku odbędą się dwa zebrania. Również piwnica musi być zamknięta. Święta są dniami "
        "wolnymi od pracy.",
        CENTRAL,
    ),
    "Czech": Language(
        "Nájemní smlouva se uzavírá na dvanáct měsíců. Nájemné činí čtyři sta korun a platí se do třetího dne v měsíci. "
        "Větší škody je třeba ihned nahlásit. Klíče jsou k vyzvednutí v kanceláři. Žluťoučký kůň úpěl ďábelské ódy. "
        "Schůze začíná v osm hodin večer. Také sklep musí být zamčený. Příští rok se budou opravovat všechna okna.",
        CENTRAL,
    ),
    "Hungarian": Language(
        "A bérleti szerződés tizenkét hónapra szól. A bérleti díj négyszáz forint, amelyet minden hónap harmadikáig "
        "kell fizetni. A nagyobb károkat azonnal be kell jelenteni. A kulcsok az irodában vehetők át. Árvíztűrő "
        "tükörfúrógép. A gyűlés este nyolckor kezdődik. Jövőre az összes ablakot kicserélik. Kérjük, zárja be a kaput!",
        CENTRAL,
    ),
    "Turkish": Language(
        "Kira sözleşmesi on iki ay için yapılmıştır. Aylık kira dört yüz liradır ve ayın üçüne kadar ödenir. Büyük "
        "hasarlar hemen bildirilmelidir. Anahtarlar yönetim ofisinden alınır. Çalışanların yıllık izni yönetmeliğe "
        "göre belirlenir. İğne ile ığdır, gümüş ile bakır. Toplantı akşam sekizde başlıyor. Bahçede top oynamak yasaktır.",
        ("windows-1254",),
    ),
    "Russian": Language(
        "Договор аренды заключён на двенадцать месяцев. Плата составляет четыреста рублей в месяц и вносится до "
        "третьего числа. О крупных повреждениях следует сообщать немедленно. Ключи можно получить в конторе. Собрание "
        "начинается в восемь часов вечера. Во дворе нельзя ставить машины. В следующем году заменят все окна.",
        ("windows-1251", "koi8-r", "iso-8859-5", "ibm866", "x-mac-cyrillic"),
    ),
    "Ukrainian": Language(
        "Договір оренди укладено на дванадцять місяців. Плата становить чотириста гривень на місяць і вноситься до "
        "третього числа. Про значні пошкодження слід повідомляти негайно. Ключі можна отримати в конторі. Збори "
        "починаються о восьмій годині вечора. Її двері зачинені. Наступного року замінять усі вікна.",
        CYRILLIC,
    ),
    "Bulgarian": Language(
        "Договорът за наем се сключва за дванадесет месеца. Наемът е четиристотин лева и се плаща до трето число. За "
        "големите щети трябва да се съобщи веднага. Ключовете се получават в кантората. Събранието започва в осем часа "
        "вечерта. В двора не се спират коли. Догодина ще бъдат сменени всички прозорци.",
        ("windows-1251", "iso-8859-5"),
    ),
    "Greek": Language(
        "Η σύμβαση μίσθωσης ισχύει για δώδεκα μήνες. Το μίσθωμα είναι τετρακόσια ευρώ και πληρώνεται ως την τρίτη του "
        "μήνα. Οι μεγάλες ζημιές πρέπει να δηλώνονται αμέσως. Τα κλειδιά βρίσκονται στο γραφείο. Η συνέλευση αρχίζει "
        "στις οκτώ το βράδυ. Απαγορεύεται η στάθμευση στην αυλή. Του χρόνου θα αλλάξουν όλα τα παράθυρα.",
        ("windows-1253", "iso-8859-7"),
    ),
    "Hebrew": Language(
        "חוזה השכירות נחתם לשנים עשר חודשים. דמי השכירות הם ארבע מאות שקלים ומשולמים עד השלישי בחודש. על נזקים גדולים "
        "יש להודיע מיד. את המפתחות אפשר לקבל במשרד. האסיפה מתחילה בשעה שמונה בערב. אסור להחנות בחצר. בשנה הבאה יוחלפו "
        "כל החלונות.",
        ("windows-1255",),
    ),
    "Arabic": Language(
        "عقد الإيجار ساري المفعول لمدة اثني عشر شهرا. قيمة الإيجار أربعمائة درهم وتدفع قبل اليوم الثالث من الشهر. يجب "
        "الإبلاغ عن الأضرار الكبيرة فورا. يمكن استلام المفاتيح من المكتب. يبدأ الاجتماع في الساعة الثامنة مساء. ممنوع "
        "الوقوف في الساحة. سوف يتم تغيير كل النوافذ في السنة القادمة.",
        ("windows-1256", "iso-8859-6"),
    ),
    "Thai": Language(
        "สัญญาเช่ามีกำหนดสิบสองเดือน ค่าเช่าเดือนละสี่ร้อยบาท ต้องชำระภายในวันที่สามของเดือน ความเสียหายใหญ่ต้องแจ้งทันที "
        "กุญแจรับได้ที่สำนักงาน การประชุมเริ่มเวลาสองทุ่ม ห้ามจอดรถในลานบ้าน ปีหน้าจะเปลี่ยนหน้าต่างทั้งหมด",
        ("windows-874",),
    ),
    "Japanese": Language(
        "賃貸契約の期間は十二か月です。家賃は月に四万円で、毎月三日までに支払います。大きな損害はすぐに届け出てください。"
        "鍵は事務所で受け取れます。集会は午後八時に始まります。中庭に車を止めてはいけません。来年はすべての窓を取り替えます。"
        "年次有給休暇は二十日です。コーヒーはカフェテリアで飲めます。",
        ("shift_jis", "euc-jp", "iso-2022-jp"),
    ),
    "Chinese": Language(
        "租赁合同的期限为十二个月。租金每月四百元，应在每月三日之前支付。较大的损坏必须立即报告。钥匙可以在办公室领取。"
        "会议于晚上八点开始。院子里不准停车。明年将更换所有的窗户。员工每年有二十天带薪休假。请随手关门，谢谢合作。",
        ("gb18030",),
    ),
    "Traditional Chinese": Language(
        "租賃合約的期限為十二個月。租金每月四百元，應在每月三日之前支付。較大的損壞必須立即報告。鑰匙可以在辦公室領取。"
        "會議於晚上八點開始。院子裡不准停車。明年將更換所有的窗戶。員工每年有二十天帶薪休假。請隨手關門，謝謝合作。",
        ("big5",),
    ),
    "Korean": Language(
        "임대 계약 기간은 십이 개월입니다. 임대료는 매월 사십만 원이며 매월 삼일까지 내야 합니다. 큰 손해는 즉시 알려야 합니다. "
        "열쇠는 사무실에서 받을 수 있습니다. 회의는 저녁 여덟 시에 시작합니다. 마당에 차를 세우면 안 됩니다. 내년에 모든 창문을 바꿉니다.",
        ("euc-kr",),
    ),
    "Lithuanian": Language(
        "Nuomos sutartis sudaroma dvylikai mėnesių. Nuomos mokestis yra keturi šimtai eurų ir mokamas iki trečios dienos. "
        "Apie didesnę žalą būtina pranešti nedelsiant. Raktus galima atsiimti biure. Susirinkimas prasideda aštuntą "
        "valandą vakaro. Kieme draudžiama statyti automobilius. Kitais metais bus pakeisti visi langai.",
        ("windows-1257",),
    ),
    "Vietnamese": Language(
        "Hợp đồng thuê nhà có thời hạn mười hai tháng. Tiền thuê là bốn trăm nghìn đồng và phải trả trước ngày mồng ba. "
        "Hư hỏng lớn phải báo ngay. Chìa khóa nhận tại văn phòng. Cuộc họp bắt đầu lúc tám giờ tối.",
        (),
    ),
    "Hindi": Language(
        "किराये का अनुबंध बारह महीनों के लिए है। किराया चार सौ रुपये है और हर महीने की तीन तारीख तक देना होता है। बड़ी क्षति की "
        "सूचना तुरंत देनी चाहिए। चाबियाँ कार्यालय से मिलती हैं। बैठक शाम आठ बजे शुरू होती है।",
        (),
    ),
}

SCRIPTS = {
    "Latin": ["café", "naïve", "Straße", "łódź", "ığdır", "x"],
    "Greek": ["λόγος", "Ελλάδα", "ναί", "θάλασσα"],
    "Cyrillic": ["Привет", "мир", "ёлка", "Київ", "љубав"],
    "Hebrew": ["שלום", "עולם", "בְּרֵאשִׁית"],
    "Arabic": ["مرحبا", "العالم", "پاکستان", "١٢٣"],
    "Devanagari": ["नमस्ते", "दुनिया", "क्षत्रिय"],
    "Thai": ["สวัสดี", "ชาวโลก", "น้ำ"],
    "Chinese": ["你好", "世界", "繁體字", "𠮷野家"],
    "Japanese": ["こんにちは", "カタカナ", "東京都", "、。"],
    "Korean": ["안녕하세요", "세계", "한국어"],
    "Armenian": ["Բարեւ", "աշխարհ"],
    "Emoji": ["👩‍🚀", "🇩🇪", "☎️"],
}
"""Words in many scripts, with letters that readers of files lose or divide."""
