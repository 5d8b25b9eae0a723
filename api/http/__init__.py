"""HTTP behaviour that Litestar lacks: deadlines, strict JSON, uploads, pagination, ETags and request logs."""
