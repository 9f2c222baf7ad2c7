"""What the CUDA runtime of the stand-in GPU refuses."""

_RUNTIME_ERRORS = {
    101: "cudaErrorInvalidDevice: invalid device ordinal",
    400: "cudaErrorInvalidResourceHandle: invalid resource handle",
    401: "cudaErrorIllegalState: the operation cannot be performed in the present state",
    900: "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing",
    901: "cudaErrorStreamCaptureInvalidated: operation failed due to a previous error during capture",
}


class CUDARuntimeError(RuntimeError):
    """What a call to the CUDA runtime refused; ``status`` is the number of the error."""

    def __init__(self, status, detail=""):
        super().__init__(_RUNTIME_ERRORS[status] + (f" ({detail})" if detail else ""))
        self.status = status
