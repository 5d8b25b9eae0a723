"""Routes in the format of OpenAI, for its SDKs and for programs that are built on them."""
