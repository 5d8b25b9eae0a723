"""Words in scripts of the world, for texts that are written to files and read again."""

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
