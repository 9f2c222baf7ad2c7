// Leaky ReLU of one number, and its derivative (spec 3.3, notes A1).  A slope of 1 changes nothing.
#pragma once
#include "real.cuh"

__device__ inline real leaky(real value, real slope) { return value > 0 ? value : slope * value; }

// The gradient behind the activation; the output's sign is the input's, so the output y serves.
__device__ inline real leaky_grad(real grad, real y, real slope) { return y > 0 ? grad : slope * grad; }
