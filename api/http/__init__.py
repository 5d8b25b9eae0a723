"""HTTP behaviour that Litestar and uvicorn lack: time limits, strict JSON, streamed uploads, ETags and request logs."""
