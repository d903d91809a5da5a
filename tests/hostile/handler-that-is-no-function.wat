;; Its handler is an interface without the function. | refused: handle is missing
(component (instance $handler) (export "wasmill:handler/handler@0.1.0" (instance $handler)))
