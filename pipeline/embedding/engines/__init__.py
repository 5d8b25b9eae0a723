"""The engines that compute vectors: torch, and OpenVINO with models that are exported once and cached."""
