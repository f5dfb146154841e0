#pragma once
#include "swage/suggest.h"
