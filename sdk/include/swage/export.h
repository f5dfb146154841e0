#pragma once
// SWAGE_API marks what libswage_base.so and libswage_sdk.so export; everything else stays hidden.
#define SWAGE_API __attribute__((visibility("default")))
