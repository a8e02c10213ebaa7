"""The prediction service: models behind gRPC; ``prediction_service.server.run`` is how it is started."""
