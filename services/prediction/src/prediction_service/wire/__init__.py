"""Generated wire code of the Open Inference Protocol, committed and never edited (see the Makefile, protos)."""
