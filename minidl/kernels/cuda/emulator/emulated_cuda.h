// What CUDA C++ needs to be compiled by g++ and run on a CPU, thread by thread.  Every kernel is compiled with this
// header in front of it; the threads themselves are run by scheduler.cpp.
//
// Two differences from CUDA's language are taken out of the text before (translate.py): declarations with __shared__,
// and lines with #include.  Not emulated: textures, streams, grid-wide barriers, wgmma and TMA.  Nothing is said about
// speed: a real GPU remains the judge of that.
#pragma once

// A kernel file may ask whether it is being emulated: mma.cuh leaves its PTX to emulated_tensor_core.h then.
#define CUDA_EMULATED 1

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <type_traits>
#include <utility>

// All code runs on the same CPU, so the words that say where it belongs mean nothing.
#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)

#include "emulated_half.h"
#include "emulated_vectors.h"
#include "emulated_threads.h"
#include "emulated_math.h"
#include "emulated_warp.h"
#include "emulated_atomics.h"
#include "emulated_tensor_core.h"
#include "emulated_entry.h"
