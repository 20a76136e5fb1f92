// tpm2-tss' TCTI loader: the one way to a chip of any kind.
#pragma once
#include <tss2/tss2_tcti.h>
#include <tss2/tss2_tctildr.h>
