"""The scales of the cosines of the models that this process has used."""

import asyncio

from pipeline.embedding.model import PACKAGED_MODEL
from pipeline.embedding.prompts import Purpose
from pipeline.embedding.text_encoder import TextEncoder
from pipeline.stages.cosine_scale import PACKAGED_SCALE, QUESTIONS, TEXTS, CosineScale, measure_scale


class CosineScales:
    """Measures the scale of each model once. That of the packaged model is known."""

    def __init__(self) -> None:
        self._scales = {PACKAGED_MODEL: PACKAGED_SCALE}

    async def find(self, encoder: TextEncoder) -> CosineScale:
        """Return the scale of the encoder's model. The first call for a model embeds 24 short texts.

        Raises the errors of the encoder.
        """
        name = encoder.model_name
        if name not in self._scales:
            questions, texts = await asyncio.gather(
                encoder.encode(QUESTIONS, Purpose.QUERY), encoder.encode(TEXTS, Purpose.DOCUMENT)
            )
            self._scales[name] = measure_scale(questions, texts)
        return self._scales[name]
