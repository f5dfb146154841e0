#!/bin/sh
exec python3 "$SWAGE_SOURCE_DIR"/tests/matrix/matrix.py ${SWAGE_MATRIX:+--all}
