"""Generated wire code of the TorchServe inference API, committed and never edited (see the Makefile, protos)."""
