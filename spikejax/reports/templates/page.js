for (const input of document.querySelectorAll(".compare input")) {
  const show = () => {
    input.parentElement.style.setProperty("--cut", input.value + "%");
    input.setAttribute("aria-valuetext", "before " + Math.round(input.value) + " percent");
  };
  input.addEventListener("input", show);
  show();
}
